// Unit tests of the H.264 header reader without Python, on headers written bit by bit. Expectations follow from ITU-T
// H.264 by hand; pictures are named by the number of their packet.
//   g++ -std=c++17 -I csrc/motion -I tests/cpp tests/cpp/test_motion_h264.cpp csrc/motion/h264_*.cpp && ./a.out
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "h264_reader.h"
#include "h264_writer.h"

using namespace arseg::motion::h264;
using namespace h264_writer;

namespace {

using Indices = std::vector<int64_t>;

SliceSpec idr() {
  SliceSpec s;
  s.type = 2;
  s.idr = true;
  return s;
}

SliceSpec p(int frame_num, int entries, int poc_lsb = -1) {
  SliceSpec s;
  s.frame_num = frame_num;
  s.poc_lsb = poc_lsb < 0 ? 2 * frame_num : poc_lsb;
  s.entries = {entries};
  return s;
}

SliceSpec b(int frame_num, int poc_lsb, int entries0, int entries1, int ref_idc = 0) {
  SliceSpec s;
  s.type = 1;
  s.ref_idc = ref_idc;
  s.frame_num = frame_num;
  s.poc_lsb = poc_lsb;
  s.entries = {entries0, entries1};
  return s;
}

SliceSpec with(SliceSpec s, std::vector<std::array<int, 3>> markings) {
  s.markings = std::move(markings);
  return s;
}

SliceSpec modified(SliceSpec s, std::vector<std::pair<int, int>> modifications, int list = 0) {
  s.modifications[list] = std::move(modifications);
  return s;
}

// A reader that has its parameter sets.
struct Stream {
  explicit Stream(SpsSpec sps = {}, PpsSpec pps = {})
      : sps(std::move(sps)), pps(pps), parameters(annex_b({write(this->sps), write(pps)})) {}

  Picture push(const Bytes& bytes) { return reader.push(bytes.data(), bytes.size()); }
  Picture push(const std::vector<SliceSpec>& slices) {
    std::vector<Bytes> nals;
    for (const SliceSpec& slice : slices) {
      nals.push_back(write(slice, sps, pps));
    }
    return push(annex_b(nals));
  }
  Picture push(const SliceSpec& slice) { return push(std::vector<SliceSpec>{slice}); }

  SpsSpec sps;
  PpsSpec pps;
  Bytes parameters;
  Reader reader{parameters.data(), parameters.size()};
};

void test_bits() {
  const uint8_t data[] = {0, 0, 3, 1, 0, 0, 3, 3, 0, 0, 3};
  BitReader in(data, sizeof(data));
  CHECK(in.bits(32) == 0x00000100 && in.bits(16) == 0x0003 && in.bits(16) == 0 && !in.failed());
  CHECK(in.bits(1) == 0 && in.past_end());

  BitWriter writer;
  const Bytes nal = writer.ue(0).ue(1).ue(254).ue(0xfffffffe).se(-3).se(4).se(2147483647).se(-2147483647).nal(0, 1);
  BitReader golomb(nal.data() + 1, nal.size() - 1);
  CHECK(golomb.ue() == 0 && golomb.ue() == 1 && golomb.ue() == 254 && golomb.ue() == 0xfffffffe);
  CHECK(golomb.se() == -3 && golomb.se() == 4 && golomb.se() == 2147483647 && golomb.se() == -2147483647);
  CHECK(!golomb.failed());

  const uint8_t zeros[] = {0, 0, 0, 0, 0, 0};
  BitReader long_zeros(zeros, sizeof(zeros));
  CHECK(long_zeros.ue() == 0 && long_zeros.out_of_range());
  BitReader empty(zeros, 0);
  CHECK(empty.ue() == 0 && empty.failed());
  BitReader limited(data + 3, 1);
  CHECK(limited.ue(100) == 0 && limited.failed());
}

void test_nal_units() {
  const Bytes packet{9, 9, 0, 0, 1, 0x65, 7, 0, 0, 0, 0, 1, 0x41, 0, 0, 1, 0, 0, 1, 0x06, 1, 1, 1, 0, 0};
  NalUnits units(packet.data(), packet.size(), 0);
  std::vector<std::pair<int, size_t>> found;
  for (Nal nal; units.next(nal);) {
    found.emplace_back(nal.type(), nal.size);
  }
  CHECK((found == std::vector<std::pair<int, size_t>>{{5, 2}, {1, 1}, {6, 4}}));
  for (size_t cut = 0; cut <= packet.size(); ++cut) {
    NalUnits part(packet.data(), cut, 0);
    for (Nal nal; part.next(nal);) {
      CHECK(nal.size > 0 && nal.data + nal.size <= packet.data() + cut);
    }
  }
  const Bytes lengths{0, 2, 0x65, 7, 0, 0, 0, 1, 0x41, 0, 9, 1};
  NalUnits sized(lengths.data(), lengths.size(), 2);
  Nal nal{};
  CHECK(sized.next(nal) && nal.type() == 5 && nal.size == 2);
  CHECK(sized.next(nal) && nal.type() == 1 && nal.size == 1);
  CHECK(!sized.next(nal) && sized.length_too_long());
}

void test_sliding_window() {
  SpsSpec sps;
  sps.references = 2;
  Stream s(sps);
  const Picture first = s.push(idr());
  CHECK(first.kind == "I" && first.idr && first.started && first.reference && first.past.empty());
  CHECK(first.width == 64 && first.height == 48 && first.references == 2 && first.slices == 1 && first.entries == 0);
  CHECK(s.push(p(1, 2)).past == (Indices{0}));
  CHECK(s.push(p(2, 2)).past == (Indices{1, 0}));
  SliceSpec unused = p(3, 2);
  unused.ref_idc = 0;
  CHECK(s.push(unused).past == (Indices{2, 1}));
  const Picture last = s.push(p(3, 1));
  CHECK(last.past == (Indices{2}) && last.kind == "P" && last.entries == 1 && last.gap == 0 && last.index == 4);
  CHECK(s.push(p(4, 2)).past == (Indices{4, 2}));
  // the number of frames wraps: 5..15, 0, 1
  for (int n = 5; n < 18; ++n) {
    const Picture picture = s.push(p(n % 16, 2, 2 * n % 64));
    CHECK(picture.past == (Indices{n, n == 5 ? 4 : n - 1}) && picture.gap == 0 && picture.poc == 2 * n);
  }
  const Picture again = s.push(idr());
  CHECK(again.sequence == 2 && again.poc == 0);
  CHECK(s.push(p(1, 2)).past == (Indices{again.index}));
}

void test_long_term() {
  Stream s;
  SliceSpec first = idr();
  first.long_term = true;
  s.push(first);
  CHECK(s.push(p(1, 3)).past == (Indices{0}));
  CHECK(s.push(p(2, 3)).past == (Indices{1, 0}));
  CHECK(s.push(p(3, 3)).past == (Indices{2, 1, 0}));
  CHECK(s.push(p(4, 3)).past == (Indices{3, 2, 0}));  // the window passes over the long-term frame
  const SliceSpec fifth = with(modified(p(5, 3), {{2, 0}}), {{2, 0, 0}});
  CHECK(s.push(fifth).past == (Indices{0, 4, 3}));
  CHECK(s.push(p(6, 3)).past == (Indices{5, 4, 3}));
  // short-term and long-term modifications together; a long-term frame that does not exist leaves its entry empty
  CHECK(s.push(modified(p(7, 3), {{0, 1}, {2, 5}})).past == (Indices{5, 6}));
}

void test_marking() {
  Stream s;
  s.push(idr());
  s.push(p(1, 3));
  s.push(with(p(2, 3), {{4, 2, 0}, {3, 1, 1}}));                                    // 0 becomes long-term frame 1
  CHECK(s.push(with(p(3, 3), {{1, 1, 0}, {6, 0, 0}})).past == (Indices{2, 1, 0}));  // 1 goes, 3 is long-term frame 0
  CHECK(s.push(with(p(4, 3), {{4, 1, 0}})).past == (Indices{2, 3, 0}));             // long-term frame 1 goes
  CHECK(s.push(p(5, 3)).past == (Indices{4, 2, 3}));
  CHECK(s.push(with(p(6, 3), {{3, 0, 0}})).past == (Indices{5, 4, 3}));  // 5 takes long-term frame 0 from 3
  CHECK(s.push(with(p(7, 3), {{4, 0, 0}})).past == (Indices{6, 4, 5}));  // no long-term frames any more
  CHECK(s.push(p(8, 3)).past == (Indices{7, 6, 4}));
  CHECK(s.push(with(p(9, 3), {{1, 0, 0}, {1, 1, 0}})).past == (Indices{8, 7, 6}));
  CHECK(s.push(p(10, 3)).past == (Indices{9, 6}));
  // what is not there is passed over
  CHECK(s.push(with(p(11, 3), {{1, 9, 0}, {2, 3, 0}, {3, 12, 2}})).past == (Indices{10, 9, 6}));
  CHECK(s.push(p(12, 3)).past == (Indices{11, 10, 9}));
}

void test_reset() {
  for (int poc_type = 0; poc_type < 3; ++poc_type) {
    SpsSpec sps;
    sps.poc_type = poc_type;
    sps.cycle = {2};
    Stream s(sps);
    s.push(idr());
    CHECK(s.push(p(1, 3)).poc == 2);
    const Picture reset = s.push(with(p(2, 3), {{5, 0, 0}}));
    CHECK(reset.past == (Indices{1, 0}) && reset.sequence == 2 && reset.poc == 0 && reset.frame_num == 2);
    const Picture next = s.push(p(1, 3));
    CHECK(next.past == (Indices{2}) && next.sequence == 2 && next.poc == 2 && next.gap == 0);
    CHECK(s.push(p(2, 3)).past == (Indices{3, 2}));
  }
  // 8.2.1.1: with operation 5 on a frame whose bottom field comes first, the top field's count stays
  PpsSpec pps;
  pps.bottom_poc = true;
  Stream s({}, pps);
  s.push(idr());
  SliceSpec reset = with(p(1, 3, 40), {{5, 0, 0}});
  reset.delta_poc = -30;
  CHECK(s.push(reset).poc == 0);
  // lsb 62 against 30, not against 0: a count of 62, not of -2
  CHECK(s.push(p(1, 3, 62)).poc == 62);
}

void test_order_count() {
  {  // type 0: the lsb wraps both ways
    SpsSpec sps;
    sps.log2_poc_lsb = 4;
    Stream s(sps);
    s.push(idr());
    CHECK(s.push(p(1, 1, 6)).poc == 6);
    CHECK(s.push(p(2, 1, 12)).poc == 12);
    CHECK(s.push(p(3, 1, 2)).poc == 18);
    CHECK(s.push(b(4, 14, 1, 1)).poc == 14);
    CHECK(s.push(p(4, 1, 8)).poc == 24);
    s.push(idr());
    CHECK(s.push(b(1, 15, 1, 1)).poc == -1);
  }
  {  // the lower of both fields
    PpsSpec pps;
    pps.bottom_poc = true;
    Stream s({}, pps);
    s.push(idr());
    SliceSpec lower = p(1, 1, 8);
    lower.delta_poc = -3;
    CHECK(s.push(lower).poc == 5);
  }
  {  // type 1
    SpsSpec sps;
    sps.poc_type = 1;
    sps.delta_always_zero = false;
    sps.cycle = {4, 6};
    sps.offset_non_ref = -3;
    sps.offset_bottom = 1;
    Stream s(sps);
    CHECK(s.push(idr()).poc == 0);
    CHECK(s.push(p(1, 1)).poc == 4);
    CHECK(s.push(p(2, 1)).poc == 10);
    CHECK(s.push(p(3, 1)).poc == 14);
    SliceSpec unused = p(4, 1);
    unused.ref_idc = 0;
    CHECK(s.push(unused).poc == 11);
    SliceSpec shifted = p(4, 1);
    shifted.delta_poc = 2;
    CHECK(s.push(shifted).poc == 22);
    for (int n = 5; n < 40; ++n) {
      CHECK(s.push(p(n % 16, 1)).poc == n / 2 * 10 + n % 2 * 4);
    }
  }
  {  // type 2
    SpsSpec sps;
    sps.poc_type = 2;
    Stream s(sps);
    CHECK(s.push(idr()).poc == 0);
    for (int n = 1; n < 40; ++n) {
      SliceSpec unused = p(n % 16, 1);
      unused.ref_idc = 0;
      CHECK(s.push(unused).poc == 2 * n - 1);
      CHECK(s.push(p(n % 16, 1)).poc == 2 * n);
    }
  }
}

void test_b_lists() {
  Stream s;
  s.push(idr());
  s.push(p(1, 1, 16));
  const Picture anchor = s.push(b(2, 8, 2, 2, 1));
  CHECK(anchor.kind == "B" && anchor.past == (Indices{0, 1}) && anchor.future == (Indices{1, 0}));
  Picture inner = s.push(b(3, 4, 3, 3));
  CHECK(inner.past == (Indices{0, 2, 1}) && inner.future == (Indices{2, 1, 0}) && !inner.reference);
  inner = s.push(b(3, 12, 3, 2));
  CHECK(inner.past == (Indices{2, 0, 1}) && inner.future == (Indices{1, 2}) && inner.entries == 3);
  inner = s.push(modified(modified(b(3, 12, 1, 1), {{0, 2}}), {{0, 0}}, 1));
  CHECK(inner.past == (Indices{0}) && inner.future == (Indices{2}));
  // All in the past: list 1 would equal list 0, so its first two entries change places, before it is cut.
  CHECK(s.push(b(3, 20, 3, 3)).past == (Indices{1, 2, 0}));
  CHECK(s.push(b(3, 20, 3, 3)).future == (Indices{2, 1, 0}));
  CHECK(s.push(b(3, 20, 1, 1)).future == (Indices{2}));
  // A long-term frame is last in both lists, wherever it is in order.
  s.push(with(p(3, 1, 32), {{1, 0, 0}, {4, 1, 0}, {3, 2, 0}}));  // 2 goes, 0 becomes long-term
  inner = s.push(b(4, 24, 3, 3));
  CHECK(inner.past == (Indices{1, 9, 0}) && inner.future == (Indices{9, 1, 0}));
  // One reference only: nothing to change places.
  s.push(idr());
  inner = s.push(b(1, 2, 1, 1));
  CHECK(inner.past == inner.future && inner.past.size() == 1);
}

void test_modification() {
  Stream s;
  for (int i = 0; i < 3; ++i) {
    s.push(i == 0 ? idr() : p(i, 3));
  }
  SliceSpec probe = p(3, 3);
  probe.ref_idc = 0;
  CHECK(s.push(modified(probe, {{0, 1}})).past == (Indices{1, 2, 0}));
  CHECK(s.push(modified(probe, {{0, 2}, {1, 0}})).past == (Indices{0, 1, 2}));
  // 2 twice, as encoders do for weighted prediction: a difference of MaxPicNum is none
  CHECK(s.push(modified(probe, {{0, 0}, {0, 15}})).past == (Indices{2, 1}));
  CHECK(s.push(modified(probe, {{0, 5}})).past == (Indices{2, 1}));  // not there
  SliceSpec one = probe;
  one.entries = {1};
  CHECK(s.push(modified(one, {{0, 2}})).past == (Indices{0}));
  // more operations than entries
  CHECK(s.push(modified(one, {{0, 2}, {1, 0}})).past == (Indices{0}));
  // across the wrap of frame_num
  for (int i = 3; i < 17; ++i) {
    s.push(p(i % 16, 3, 2 * i % 64));
  }
  const int64_t last = s.push(p(1, 1, 34)).index;
  CHECK(s.push(modified(p(2, 3, 36), {{0, 2}})).past == (Indices{last - 2, last, last - 1}));
}

void test_gaps() {
  for (const bool allowed : {false, true}) {
    SpsSpec sps;
    sps.gaps = allowed;
    Stream s(sps);
    s.push(idr());
    s.push(p(1, 3));
    Picture after = s.push(p(3, 3));
    CHECK(after.gap == (allowed ? 0 : 1) && after.past == (Indices{1, 0}));
    after = s.push(p(4, 3));
    CHECK(after.gap == 0 && after.past == (Indices{2, 1}));  // the frame for the gap keeps its place between them
    CHECK(s.push(p(5, 2)).past == (Indices{3, 2}));
    after = s.push(p(14, 3));
    CHECK(after.gap == (allowed ? 0 : 8) && after.past.empty());
    after = s.push(p(2, 3, 36));
    CHECK(after.gap == (allowed ? 0 : 3) && after.past.empty());  // 15, 0, 1
    after = s.push(p(3, 3, 38));
    CHECK(after.gap == 0 && after.past == (Indices{6}));
    // before a picture that is no reference, and none once more after it
    SliceSpec unused = p(5, 3, 42);
    unused.ref_idc = 0;
    CHECK(s.push(unused).gap == (allowed ? 0 : 1));
    CHECK(s.push(p(5, 3, 44)).gap == 0);
  }
  {  // a stream that starts in the middle has no gap before its start
    Stream s;
    Picture first = s.push(p(7, 3));
    CHECK(first.gap == 0 && !first.started && first.past.empty() && first.kind == "P");
    CHECK(s.push(p(9, 3)).gap == 0);
    SliceSpec intra = p(12, 0);
    intra.type = 2;
    const Picture start = s.push(intra);
    CHECK(start.gap == 0 && start.started && start.kind == "I" && !start.idr);
    CHECK(s.push(p(14, 3)).gap == 1);
  }
  {  // B pictures: frames that fill a gap have no order count of type 0
    Stream s;
    s.push(idr());
    s.push(p(2, 3, 8));
    const Picture inner = s.push(b(3, 4, 3, 3));
    CHECK(inner.past == (Indices{0, 1}) && inner.future == (Indices{1, 0}));
  }
}

void test_sizes() {
  SpsSpec sps;
  sps.crop = {1, 2, 3, 4};
  Picture picture = Stream(sps).push(idr());
  CHECK(picture.crop_left == 2 && picture.crop_right == 4 && picture.crop_top == 6 && picture.crop_bottom == 8);
  CHECK(picture.width == 58 && picture.height == 34);
  sps.profile = 122;
  sps.chroma = 2;
  sps.scaling = true;
  picture = Stream(sps).push(idr());
  CHECK(picture.crop_left == 2 && picture.crop_right == 4 && picture.crop_top == 3 && picture.crop_bottom == 4);
  for (const int chroma : {0, 3}) {
    sps.chroma = chroma;
    sps.separate_planes = chroma == 3;
    picture = Stream(sps).push(idr());
    CHECK(picture.crop_left == 1 && picture.crop_right == 2 && picture.crop_top == 3 && picture.crop_bottom == 4);
  }
  sps.separate_planes = false;
  CHECK(Stream(sps).push(idr()).width == 61);
  sps.chroma = 1;
  sps.frame_only = false;
  picture = Stream(sps).push(idr());
  CHECK(picture.crop_top == 12 && picture.crop_bottom == 16 && picture.height == 96 - 28 && !picture.interlaced);
  sps.mbaff = true;
  CHECK(Stream(sps).push(idr()).interlaced);

  const auto refused = [](const SpsSpec& bad) { return !Stream(bad).push(idr()).error.empty(); };
  SpsSpec bad;
  bad.crop = {16, 16, 0, 0};
  CHECK(refused(bad));
  bad = {};
  bad.columns = 1025;
  CHECK(refused(bad));
  bad = {};
  bad.rows = 600;
  CHECK(!refused(bad));
  bad.frame_only = false;
  CHECK(refused(bad));
  bad = {};
  bad.references = 17;
  CHECK(refused(bad));
}

void test_fields() {
  SpsSpec sps;
  sps.frame_only = false;
  SliceSpec top = idr(), bottom = p(0, 1, 1);
  top.field = bottom.field = bottom.bottom = true;
  Stream s(sps);
  Picture both = s.push({top, bottom});
  CHECK(both.interlaced && both.poc == 0 && both.slices == 2 && both.past.empty());
  // one packet each
  const int64_t first = s.push(top).index;
  const Picture second = s.push(bottom);
  CHECK(second.interlaced && second.gap == 0 && second.poc == 1 && second.sequence == both.sequence + 1);
  CHECK(s.push(p(1, 3)).past == (Indices{first}));
}

void test_slices() {
  PpsSpec pps;
  pps.redundant = true;
  pps.weighted = true;
  pps.bipred = 1;
  pps.groups = 3;
  pps.entries[0] = 2;
  Stream s({}, pps);
  s.push(idr());
  s.push(p(1, 2));
  SliceSpec intra = p(2, 0);
  intra.type = 2;
  SliceSpec plain = p(2, 0);
  plain.entries.clear();  // those of the PPS
  SliceSpec other = modified(p(2, 1), {{0, 1}});
  SliceSpec redundant = p(2, 3);
  redundant.redundant = 1;
  const Picture mixed = s.push({intra, other, plain, redundant});
  CHECK(mixed.kind == "P" && mixed.past == (Indices{0, 1}) && mixed.entries == 2 && mixed.slices == 4);
  CHECK(mixed.weighted && mixed.error.empty());
  const Picture both = s.push(with(b(3, 3, 2, 2, 1), {{1, 0, 0}}));
  CHECK(both.weighted && both.error.empty() && both.past == (Indices{1, 0}));
  CHECK(s.push(p(4, 3)).past == (Indices{3, 1, 0}));  // the marking behind the table was found
  pps.bipred = 2;
  Stream implicit({}, pps);
  implicit.push(idr());
  CHECK(implicit.push(b(1, 2, 1, 1)).weighted);
}

void test_containers() {
  const SpsSpec sps;
  const PpsSpec pps;
  const Bytes first = write(idr(), sps, pps), second = write(p(1, 1), sps, pps);
  for (int length_size = 1; length_size <= 4; ++length_size) {
    const Bytes extradata = avcc(write(sps), write(pps), length_size);
    Reader reader(extradata.data(), extradata.size());
    Bytes packet = with_lengths({write_recovery(4), first}, length_size);
    const Picture picture = reader.push(packet.data(), packet.size());
    CHECK(picture.kind == "I" && picture.recovery == 4 && picture.error.empty());
    packet = annex_b({second});  // start codes where lengths belong
    const Picture next = reader.push(packet.data(), packet.size());
    CHECK(next.kind == "P" && next.past == Indices{0});
    packet = with_lengths({second}, length_size);
    packet.pop_back();
    const Picture cut = reader.push(packet.data(), packet.size());
    CHECK(cut.kind.empty() && !cut.error.empty() && cut.index == 2);
    for (size_t size = 0; size < extradata.size(); ++size) {
      Reader damaged(extradata.data(), size);
      packet = with_lengths({first}, size > 4 ? length_size : 4);
      CHECK(size == 0 || !damaged.push(packet.data(), packet.size()).error.empty());
    }
  }
  Reader bare(nullptr, 0);
  Bytes packet = annex_b({first});
  CHECK(bare.push(packet.data(), packet.size()).error == "PPS 0 is missing");
  packet = annex_b({write(pps), first});
  CHECK(bare.push(packet.data(), packet.size()).error == "SPS 0 is missing");
  packet = annex_b({write(sps), write_recovery(0)});
  const Picture none = bare.push(packet.data(), packet.size());
  CHECK(none.kind.empty() && none.error.empty() && none.recovery == 0 && none.index == 2 && !none.started);
  packet = annex_b({first});
  CHECK(bare.push(packet.data(), packet.size()).kind == "I");
  packet = annex_b({Bytes(second.begin(), second.begin() + 2)});
  CHECK(bare.push(packet.data(), packet.size()).error == "slice header runs past its end");
  packet = annex_b({second});
  CHECK(bare.push(packet.data(), packet.size()).past == (Indices{3}));
  CHECK(bare.push(nullptr, 0).kind.empty());
  const Bytes nonsense{7, 7, 7};
  Reader strange(nonsense.data(), nonsense.size());
  CHECK(strange.push(packet.data(), packet.size()).error.find("extradata") != std::string::npos);
}

void test_new_parameters() {
  Stream s;
  s.push(idr());
  s.push(p(1, 3));
  s.push(annex_b({write(s.sps), write(s.pps)}));  // the same again: nothing happens
  CHECK(s.push(p(2, 3)).past == (Indices{1, 0}));
  s.sps.columns = 8;
  s.sps.log2_frame_num = 8;
  s.push(annex_b({write(s.sps)}));
  const Picture larger = s.push(idr());
  CHECK(larger.width == 128 && larger.sequence == 2);
  CHECK(s.push(p(1, 3)).past == (Indices{larger.index}));
}

}  // namespace

int main() {
  test_bits();
  test_nal_units();
  test_sliding_window();
  test_long_term();
  test_marking();
  test_reset();
  test_order_count();
  test_b_lists();
  test_modification();
  test_gaps();
  test_sizes();
  test_fields();
  test_slices();
  test_containers();
  test_new_parameters();
  return check::report("motion_h264");
}
