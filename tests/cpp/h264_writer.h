// Writes H.264 parameter sets and slice headers bit by bit, for tests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace h264_writer {

using Bytes = std::vector<uint8_t>;

class BitWriter {
 public:
  BitWriter& u(int count, uint32_t value) {
    for (int i = count - 1; i >= 0; --i) {
      if (used_ % 8 == 0) {
        bytes_.push_back(0);
      }
      bytes_.back() = static_cast<uint8_t>(bytes_.back() | (value >> i & 1) << (7 - used_ % 8));
      ++used_;
    }
    return *this;
  }
  BitWriter& flag(bool value) { return u(1, value ? 1 : 0); }
  BitWriter& ue(uint32_t value) {
    int length = 0;
    while ((uint64_t{value} + 1) >> (length + 1) != 0) {
      ++length;
    }
    return u(length, 0).u(length + 1, value + 1);
  }
  BitWriter& se(int64_t value) { return ue(static_cast<uint32_t>(value > 0 ? 2 * value - 1 : -2 * value)); }

  // With rbsp_trailing_bits, a header byte and emulation prevention.
  Bytes nal(int ref_idc, int type) {
    flag(true);
    Bytes out{static_cast<uint8_t>(ref_idc << 5 | type)};
    int zeros = 0;
    for (const uint8_t byte : bytes_) {
      if (zeros == 2 && byte <= 3) {
        out.push_back(3);
        zeros = 0;
      }
      out.push_back(byte);
      zeros = byte == 0 ? zeros + 1 : 0;
    }
    return out;
  }

 private:
  Bytes bytes_;
  int used_ = 0;
};

struct SpsSpec {
  int id = 0, profile = 77, chroma = 1;
  bool separate_planes = false, scaling = false;
  int log2_frame_num = 4, poc_type = 0, log2_poc_lsb = 6;
  bool delta_always_zero = true;
  int offset_non_ref = 0, offset_bottom = 0;
  std::vector<int> cycle;
  int references = 3;
  bool gaps = false;
  int columns = 4, rows = 3;
  bool frame_only = true, mbaff = false;
  std::vector<int> crop;  // left, right, top, bottom, in crop units
};

struct PpsSpec {
  int id = 0, sps = 0;
  bool bottom_poc = false;
  int groups = 1;
  int entries[2] = {1, 1};
  bool weighted = false;
  int bipred = 0;
  bool redundant = false;
};

struct SliceSpec {
  int type = 0;  // 0: P, 1: B, 2: I
  int ref_idc = 1;
  bool idr = false;
  int frame_num = 0;
  int poc_lsb = 0;
  std::vector<int> entries;                           // of the lists; empty: those of the PPS
  std::vector<std::pair<int, int>> modifications[2];  // idc, value
  std::vector<std::array<int, 3>> markings;           // operation and values; empty: sliding window
  bool long_term = false;
  int delta_poc = 0;
  bool field = false, bottom = false;
  int redundant = 0;
  int first_mb = 0;
};

inline Bytes write(const SpsSpec& s) {
  BitWriter w;
  w.u(8, static_cast<uint32_t>(s.profile)).u(16, 30).ue(static_cast<uint32_t>(s.id));
  if (s.profile >= 100) {
    w.ue(static_cast<uint32_t>(s.chroma));
    if (s.chroma == 3) {
      w.flag(s.separate_planes);
    }
    w.ue(2).ue(2).flag(false).flag(s.scaling);
    for (int i = 0; s.scaling && i < (s.chroma == 3 ? 12 : 8); ++i) {
      w.flag(i != 1);
      if (i == 0) {
        w.se(-8);  // the default list
      } else if (i != 1) {
        for (int k = 0; k < (i < 6 ? 16 : 64); ++k) {
          w.se(k % 3 - 1);
        }
      }
    }
  }
  w.ue(static_cast<uint32_t>(s.log2_frame_num - 4)).ue(static_cast<uint32_t>(s.poc_type));
  if (s.poc_type == 0) {
    w.ue(static_cast<uint32_t>(s.log2_poc_lsb - 4));
  } else if (s.poc_type == 1) {
    w.flag(s.delta_always_zero).se(s.offset_non_ref).se(s.offset_bottom).ue(static_cast<uint32_t>(s.cycle.size()));
    for (const int offset : s.cycle) {
      w.se(offset);
    }
  }
  w.ue(static_cast<uint32_t>(s.references)).flag(s.gaps);
  w.ue(static_cast<uint32_t>(s.columns - 1)).ue(static_cast<uint32_t>(s.rows - 1)).flag(s.frame_only);
  if (!s.frame_only) {
    w.flag(s.mbaff);
  }
  w.flag(true).flag(!s.crop.empty());
  for (const int edge : s.crop) {
    w.ue(static_cast<uint32_t>(edge));
  }
  return w.flag(false).nal(3, 7);
}

inline Bytes write(const PpsSpec& p) {
  BitWriter w;
  w.ue(static_cast<uint32_t>(p.id)).ue(static_cast<uint32_t>(p.sps)).flag(true).flag(p.bottom_poc);
  w.ue(static_cast<uint32_t>(p.groups - 1));
  if (p.groups > 1) {
    w.ue(6).ue(11);  // explicit map of 12 units
    for (int i = 0; i < 12; ++i) {
      w.u(p.groups > 4 ? 3 : p.groups > 2 ? 2 : 1, 0);
    }
  }
  w.ue(static_cast<uint32_t>(p.entries[0] - 1)).ue(static_cast<uint32_t>(p.entries[1] - 1)).flag(p.weighted);
  w.u(2, static_cast<uint32_t>(p.bipred)).se(0).se(0).se(0).u(2, 0).flag(p.redundant);
  return w.nal(3, 8);
}

inline Bytes write(const SliceSpec& s, const SpsSpec& sps, const PpsSpec& pps) {
  BitWriter w;
  w.ue(static_cast<uint32_t>(s.first_mb)).ue(static_cast<uint32_t>(s.type)).ue(static_cast<uint32_t>(pps.id));
  if (sps.separate_planes) {
    w.u(2, 0);
  }
  w.u(sps.log2_frame_num, static_cast<uint32_t>(s.frame_num));
  if (!sps.frame_only) {
    w.flag(s.field);
    if (s.field) {
      w.flag(s.bottom);
    }
  }
  if (s.idr) {
    w.ue(0);
  }
  const bool both = pps.bottom_poc && !s.field;
  if (sps.poc_type == 0) {
    w.u(sps.log2_poc_lsb, static_cast<uint32_t>(s.poc_lsb));
    if (both) {
      w.se(s.delta_poc);
    }
  } else if (sps.poc_type == 1 && !sps.delta_always_zero) {
    w.se(s.delta_poc);
    if (both) {
      w.se(0);
    }
  }
  if (pps.redundant) {
    w.ue(static_cast<uint32_t>(s.redundant));
  }
  const int lists = s.type == 0 ? 1 : s.type == 1 ? 2 : 0;
  if (s.type == 1) {
    w.flag(true);
  }
  if (lists > 0) {
    w.flag(!s.entries.empty());
    for (const int entries : s.entries) {
      w.ue(static_cast<uint32_t>(entries - 1));
    }
  }
  for (int list = 0; list < lists; ++list) {
    w.flag(!s.modifications[list].empty());
    for (const auto& modification : s.modifications[list]) {
      w.ue(static_cast<uint32_t>(modification.first)).ue(static_cast<uint32_t>(modification.second));
    }
    if (!s.modifications[list].empty()) {
      w.ue(3);
    }
  }
  if ((s.type == 0 && pps.weighted) || (s.type == 1 && pps.bipred == 1)) {
    w.ue(5).ue(5);
    for (int list = 0; list < lists; ++list) {
      for (int i = 0; i < (s.entries.empty() ? pps.entries[list] : s.entries[static_cast<size_t>(list)]); ++i) {
        w.flag(true).se(31).se(-4).flag(i % 2 == 1);
        if (i % 2 == 1) {
          w.se(1).se(2).se(3).se(4);
        }
      }
    }
  }
  if (s.idr) {
    w.flag(false).flag(s.long_term);
  } else if (s.ref_idc > 0) {
    w.flag(!s.markings.empty());
    for (const auto& [operation, first, second] : s.markings) {
      w.ue(static_cast<uint32_t>(operation));
      if (operation != 5) {
        w.ue(static_cast<uint32_t>(first));
      }
      if (operation == 3) {
        w.ue(static_cast<uint32_t>(second));
      }
    }
    if (!s.markings.empty()) {
      w.ue(0);
    }
  }
  return w.se(0).u(16, 0xabcd).nal(s.ref_idc, s.idr ? 5 : 1);
}

// A recovery point message behind one of another kind.
inline Bytes write_recovery(int count) {
  BitWriter payload;
  payload.u(8, 5).u(8, 3).u(24, 0x010203).u(8, 6).u(8, 3).ue(static_cast<uint32_t>(count)).flag(true).u(12, 0);
  return payload.nal(0, 6);
}

inline Bytes annex_b(const std::vector<Bytes>& nals) {
  Bytes out;
  for (const Bytes& nal : nals) {
    out.insert(out.end(), {0, 0, 0, 1});
    out.insert(out.end(), nal.begin(), nal.end());
  }
  return out;
}

inline Bytes with_lengths(const std::vector<Bytes>& nals, int length_size) {
  Bytes out;
  for (const Bytes& nal : nals) {
    for (int i = length_size - 1; i >= 0; --i) {
      out.push_back(static_cast<uint8_t>(nal.size() >> 8 * i));
    }
    out.insert(out.end(), nal.begin(), nal.end());
  }
  return out;
}

inline Bytes avcc(const Bytes& sps, const Bytes& pps, int length_size) {
  Bytes out{1, 77, 0, 30, static_cast<uint8_t>(0xfc | (length_size - 1)), 0xe1};
  const Bytes first = with_lengths({sps}, 2), second = with_lengths({pps}, 2);
  out.insert(out.end(), first.begin(), first.end());
  out.push_back(1);
  out.insert(out.end(), second.begin(), second.end());
  return out;
}

}  // namespace h264_writer
