// Damaged H.264 headers: pushes mutants of valid streams into the reader. Meant for a build with sanitizers, which
// find what goes wrong; the checks here are that the reader keeps its promises about what it returns.
//   g++ -std=c++17 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -I csrc/motion -I tests/cpp
//       tests/cpp/fuzz_h264.cpp csrc/motion/h264_*.cpp -o fuzz_h264 && ./fuzz_h264 [count] [files...]
// Files are streams with start codes; more seeds are built in. The same count gives the same mutants.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "h264_reader.h"
#include "h264_writer.h"

using namespace arseg::motion::h264;
using namespace h264_writer;

namespace {

// NAL units in order; each packet ends with a slice.
using Units = std::vector<Bytes>;
using Random = std::mt19937;

size_t below(Random& random, size_t limit) { return limit == 0 ? 0 : random() % limit; }

// A stream of random headers that fit their parameter sets.
Units make_seed(unsigned number) {
  Random random(number);
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  SpsSpec sps;
  sps.profile = chance(50) ? 77 : 244;
  sps.chroma = static_cast<int>(below(random, 4));
  sps.separate_planes = sps.chroma == 3 && sps.profile >= 100 && chance(50);
  sps.scaling = chance(30);
  sps.poc_type = static_cast<int>(number % 3);
  sps.delta_always_zero = chance(50);
  sps.cycle.assign(below(random, 6), 2);
  sps.offset_non_ref = -1;
  sps.references = static_cast<int>(below(random, 17));
  sps.gaps = chance(30);
  sps.frame_only = chance(70);
  sps.mbaff = chance(50);
  if (chance(40)) {
    sps.crop = {0, 1, 0, 1};
  }
  PpsSpec pps;
  pps.bottom_poc = chance(30);
  pps.groups = chance(20) ? 3 : 1;
  pps.weighted = chance(40);
  pps.bipred = static_cast<int>(below(random, 3));
  pps.redundant = chance(20);
  Units units{write(sps), write(pps)};
  int frame_num = 0;
  for (int i = 0; i < 24; ++i) {
    SliceSpec s;
    s.idr = i % 12 == 0;
    s.type = s.idr ? 2 : static_cast<int>(below(random, 3));
    s.ref_idc = s.idr || chance(70) ? 2 : 0;
    frame_num = s.idr ? 0 : frame_num;
    s.frame_num = frame_num;
    s.poc_lsb = 2 * (i % 12) % 64;
    s.field = !sps.frame_only && chance(20);
    s.bottom = chance(50);
    s.redundant = chance(10) ? 1 : 0;
    for (int list = 0; list < (s.type == 0 ? 1 : s.type == 1 ? 2 : 0); ++list) {
      s.entries.push_back(1 + static_cast<int>(below(random, 16)));
      for (size_t k = below(random, 4); k > 0; --k) {
        s.modifications[list].emplace_back(static_cast<int>(below(random, 3)), static_cast<int>(below(random, 8)));
      }
    }
    if (!s.idr && chance(40)) {
      for (size_t k = 1 + below(random, 4); k > 0; --k) {
        s.markings.push_back({1 + static_cast<int>(below(random, 6)), static_cast<int>(below(random, 4)),
                              static_cast<int>(below(random, 4))});
      }
    }
    if (chance(10)) {
      units.push_back(write_recovery(i));
    }
    units.push_back(write(s, sps, pps));
    const bool resets = std::any_of(s.markings.begin(), s.markings.end(), [](const auto& m) { return m[0] == 5; });
    frame_num = resets ? 0 : frame_num;
    frame_num = s.ref_idc > 0 ? (frame_num + 1) % 16 : frame_num;
    frame_num = chance(5) ? (frame_num + 3) % 16 : frame_num;
  }
  return units;
}

// At most 64 units of a file, each cut to what holds its header.
Units read_seed(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  Units units;
  NalUnits split(bytes.data(), bytes.size(), 0);
  for (Nal nal; units.size() < 64 && split.next(nal);) {
    units.emplace_back(nal.data, nal.data + std::min<size_t>(nal.size, 96));
  }
  return units;
}

void mutate(Units& units, Random& random) {
  for (size_t changes = 1 + below(random, 6); changes > 0; --changes) {
    if (units.empty()) {
      return;
    }
    const size_t at = below(random, units.size());
    Bytes& unit = units[at];
    switch (random() % 8) {
      case 0:
      case 1:
        if (!unit.empty()) {
          unit[below(random, unit.size())] ^= static_cast<uint8_t>(1u << random() % 8);
        }
        break;
      case 2:
        if (!unit.empty()) {
          unit[below(random, unit.size())] = static_cast<uint8_t>(random() % 4 == 0 ? 0 : random());
        }
        break;
      case 3:
        unit.resize(below(random, unit.size() + 1));
        break;
      case 4:
        unit.insert(unit.begin() + static_cast<std::ptrdiff_t>(below(random, unit.size() + 1)), 1 + random() % 40,
                    static_cast<uint8_t>(random() % 3 == 0 ? 255 : 0));
        break;
      case 5:
        units.erase(units.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 6: {
        const Bytes copy = unit;
        units.insert(units.begin() + static_cast<std::ptrdiff_t>(below(random, units.size() + 1)), copy);
        break;
      }
      default:
        std::swap(unit, units[below(random, units.size())]);
        break;
    }
  }
}

// What must hold whatever came in.
bool sound(const Reader& reader, const Picture& picture, int64_t index, int64_t& sequence) {
  bool good = picture.index == index && picture.sequence >= sequence && picture.gap >= 0 && picture.width >= 0 &&
              picture.height >= 0 && picture.width <= kMaxSize && picture.height <= kMaxSize && picture.entries <= 32 &&
              picture.references <= kMaxReferences && reader.references().marked().size() <= 16;
  good = good && (picture.kind.empty() || (picture.width > 0 && picture.height > 0));
  sequence = picture.sequence;
  for (const std::vector<int64_t>* list : {&picture.past, &picture.future}) {
    good = good && std::set<int64_t>(list->begin(), list->end()).size() == list->size();
    good = good && std::all_of(list->begin(), list->end(), [&](int64_t i) { return i >= 0 && i < picture.index; });
  }
  return good;
}

// Pushes exactly sized copies on the heap, so that reading past the end is seen.
Picture push(Reader& reader, const Bytes& packet) {
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[packet.size()]);
  std::copy(packet.begin(), packet.end(), copy.get());
  return reader.push(copy.get(), packet.size());
}

bool run(const Units& units, Random& random) {
  const int length_size = static_cast<int>(random() % 5);
  Bytes extradata;
  if (length_size > 0 && units.size() > 1) {
    extradata = avcc(units[0], units[1], length_size);
    if (random() % 8 == 0) {
      extradata[below(random, extradata.size())] = static_cast<uint8_t>(random());
      extradata.resize(1 + below(random, extradata.size()));
    }
  }
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[extradata.size()]);
  std::copy(extradata.begin(), extradata.end(), copy.get());
  Reader reader(copy.get(), extradata.size());
  int64_t index = 0, sequence = 0;
  std::vector<Bytes> nals;
  for (const Bytes& unit : units) {
    nals.push_back(unit);
    const int type = unit.empty() ? 0 : unit[0] & 31;
    if (type != 7 && type != 8 && type != 6 && random() % 8 != 0) {
      Bytes packet = length_size > 0 && !extradata.empty() ? with_lengths(nals, length_size) : annex_b(nals);
      if (random() % 64 == 0) {
        packet.resize(below(random, packet.size() + 1));
      }
      if (!extradata.empty() && random() % 16 == 0) {
        Bytes other = random() % 2 == 0 ? extradata : annex_b(nals);
        other[below(random, other.size())] = static_cast<uint8_t>(random());
        other.resize(1 + below(random, other.size()));
        const std::unique_ptr<uint8_t[]> exact(new uint8_t[other.size()]);
        std::copy(other.begin(), other.end(), exact.get());
        if (random() % 2 == 0) {
          reader.set_extradata(exact.get(), other.size());
        } else if (!sound(reader, reader.push(exact.get(), other.size()), index++, sequence)) {
          return false;
        }
      }
      if (!sound(reader, push(reader, packet), index++, sequence)) {
        return false;
      }
      nals.clear();
    }
  }
  // Still of use: a stream that starts anew is read as ever.
  reader.set_extradata(copy.get(), extradata.size());
  const SpsSpec sps;
  const PpsSpec pps;
  SliceSpec first, second;
  first.idr = true;
  first.type = 2;
  second.frame_num = 1;
  second.poc_lsb = 2;
  const std::vector<Bytes> fresh{write(sps), write(pps), write(first, sps, pps)};
  const bool lengths = length_size > 1 && !extradata.empty() && extradata[0] == 1 && extradata.size() > 4;
  const int size = lengths ? (extradata[4] & 3) + 1 : 0;
  if (size == 0 && !extradata.empty()) {
    return true;  // lengths of an unknown size
  }
  push(reader, size > 0 ? with_lengths(fresh, size) : annex_b(fresh));
  const Bytes last = write(second, sps, pps);
  const Picture picture = push(reader, size > 0 ? with_lengths({last}, size) : annex_b({last}));
  return picture.kind == "P" && picture.past == std::vector<int64_t>{index} && picture.gap == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 20000;
  std::vector<Units> seeds;
  for (unsigned i = 0; i < 48; ++i) {
    seeds.push_back(make_seed(i));
  }
  for (int i = 2; i < argc; ++i) {
    seeds.push_back(read_seed(argv[i]));
    if (seeds.back().empty()) {
      std::fprintf(stderr, "fuzz_h264: %s: no stream with start codes\n", argv[i]);
      return 2;
    }
  }
  for (long i = 0; i < count; ++i) {
    Random random(static_cast<unsigned>(i));
    Units units = seeds[static_cast<size_t>(i) % seeds.size()];
    mutate(units, random);
    if (!run(units, random)) {
      std::fprintf(stderr, "fuzz_h264: mutant %ld: the reader broke a promise\n", i);
      return 1;
    }
  }
  std::printf("fuzz_h264: %ld mutants of %zu streams, no finding\n", count, seeds.size());
  return 0;
}
