// H.264 byte stream: NAL units out of a packet, bits out of a NAL unit. Nothing here reads beyond the bytes given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace arseg::motion::h264 {

// Bits of a NAL unit's payload, most significant first. The emulation prevention bytes (the 03 of 00 00 03, 7.4.1) are
// left out on the fly. Reading past the end gives zeros and sets a flag, as does a value beyond its limit; the caller
// asks once, after the last element.
class BitReader {
 public:
  BitReader(const uint8_t* data, size_t size) : next_(data), end_(data + size) {}

  // u(n), n = 0..32
  uint32_t bits(int count) {
    while (available_ < count) {
      cache_ = cache_ << 8 | byte();
      available_ += 8;
    }
    available_ -= count;
    return static_cast<uint32_t>(cache_ >> available_ & ((uint64_t{1} << count) - 1));
  }

  bool flag() { return bits(1) != 0; }

  // u(n) without a use for the value
  void skip(uint64_t count) {
    for (; count > 32 && !past_end_; count -= 32) {
      bits(32);
    }
    bits(count > 32 ? 0 : static_cast<int>(count));
  }

  // ue(v), 9.1; 2^32 - 2 is the largest number it can name
  uint32_t ue() {
    int zeros = 0;
    while (!flag()) {
      if (++zeros > 31) {
        out_of_range_ = true;
        return 0;
      }
    }
    return (uint32_t{1} << zeros) - 1 + bits(zeros);
  }

  // ue(v) that must not exceed `limit`
  int ue(int limit) {
    const uint32_t value = ue();
    if (value > static_cast<uint32_t>(limit)) {
      out_of_range_ = true;
      return 0;
    }
    return static_cast<int>(value);
  }

  // se(v), 9.1.1
  int32_t se() {
    const int64_t k = ue();
    return static_cast<int32_t>(k & 1 ? (k + 1) / 2 : -(k / 2));
  }

  bool past_end() const { return past_end_; }
  bool out_of_range() const { return out_of_range_; }
  bool failed() const { return past_end_ || out_of_range_; }
  void refuse() { out_of_range_ = true; }

 private:
  uint64_t byte() {
    if (next_ != end_ && zeros_ == 2 && *next_ == 3) {
      ++next_;
      zeros_ = 0;
    }
    if (next_ == end_) {
      past_end_ = true;
      return 0;
    }
    const uint8_t value = *next_++;
    zeros_ = value != 0 ? 0 : zeros_ < 2 ? zeros_ + 1 : 2;
    return value;
  }

  const uint8_t* next_;
  const uint8_t* end_;
  uint64_t cache_ = 0;
  int available_ = 0;  // bits of the cache not yet handed out
  int zeros_ = 0;      // zero bytes just before next_, at most 2
  bool past_end_ = false;
  bool out_of_range_ = false;
};

// A NAL unit: header byte, then the payload with its emulation prevention bytes.
struct Nal {
  const uint8_t* data;
  size_t size;  // > 0

  int ref_idc() const { return data[0] >> 5 & 3; }
  int type() const { return data[0] & 31; }
  bool forbidden_bit() const { return (data[0] & 0x80) != 0; }
  BitReader payload() const { return {data + 1, size - 1}; }
};

// The first 00 00 01 in [from, end), or end. Looks for the 01, which is no more frequent than any byte in coded data.
inline const uint8_t* find_start_code(const uint8_t* from, const uint8_t* end) {
  if (end - from < 3) {
    return end;
  }
  for (const uint8_t* at = from + 2; at < end; ++at) {
    at = static_cast<const uint8_t*>(std::memchr(at, 1, static_cast<size_t>(end - at)));
    if (at == nullptr) {
      return end;
    }
    if (at[-1] == 0 && at[-2] == 0) {
      return at - 2;
    }
  }
  return end;
}

// The NAL units of a packet: behind start codes (Annex B) for length_size 0, behind lengths of 1..4 bytes otherwise.
class NalUnits {
 public:
  NalUnits(const uint8_t* data, size_t size, int length_size)
      : next_(data), end_(data + size), length_size_(length_size) {
    if (length_size_ == 0 && size > 0) {
      next_ = find_start_code(next_, end_);
    }
  }

  // False at the end of the packet, or where a length does not fit.
  bool next(Nal& nal) { return length_size_ == 0 ? next_start_code(nal) : next_length(nal); }

  bool length_too_long() const { return length_too_long_; }

 private:
  bool next_start_code(Nal& nal) {
    while (end_ - next_ > 3) {  // at a start code, with something behind it
      const uint8_t* const begin = next_ + 3;
      next_ = find_start_code(begin, end_);
      const uint8_t* last = next_;
      while (last > begin && last[-1] == 0) {  // trailing_zero_8bits, and the first byte of a four-byte start code
        --last;
      }
      if (last > begin) {
        nal = {begin, static_cast<size_t>(last - begin)};
        return true;
      }
    }
    return false;
  }

  bool next_length(Nal& nal) {
    while (end_ - next_ >= length_size_) {
      size_t size = 0;
      for (int i = 0; i < length_size_; ++i) {
        size = size << 8 | *next_++;
      }
      if (size > static_cast<size_t>(end_ - next_)) {
        length_too_long_ = true;
        next_ = end_;
        return false;
      }
      if (size > 0) {
        nal = {next_, size};
        next_ += size;
        return true;
      }
    }
    return false;
  }

  const uint8_t* next_;
  const uint8_t* end_;
  int length_size_;
  bool length_too_long_ = false;
};

}  // namespace arseg::motion::h264
