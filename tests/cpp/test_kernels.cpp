// The CPU kernels of every target that this processor can run, called as the operators call them, against obvious
// loops (kernel_reference.h). Maps lie in memory of their exact size and scratch is full of NaN, so that under the
// sanitizers (-DARSEG_SANITIZE=ON) no stray read or write goes unseen. The operators themselves: tests/ops.

#include <cstdio>
#include <string>
#include <utility>

#include "check.h"
#include "cpu/kernels.h"
#include "kernel_reference.h"

namespace arseg {
CpuKernels plain_kernels();
#if defined(__x86_64__)
CpuKernels avx2_kernels();
CpuKernels avx512_kernels();
CpuKernels avx512_bf16_kernels();
#endif
}  // namespace arseg

using namespace reference;

namespace {

// The conditions of csrc/cpu/capability.cpp.
std::vector<CpuKernels> find_targets() {
  std::vector<CpuKernels> found = {plain_kernels()};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  avx2 ? found.push_back(avx2_kernels()) : void(std::puts("skipped on this processor: avx2"));
  avx512 ? found.push_back(avx512_kernels()) : void(std::puts("skipped on this processor: avx512"));
  bf16 ? found.push_back(avx512_bf16_kernels()) : void(std::puts("skipped on this processor: avx512_bf16"));
#endif
  return found;
}

const std::vector<CpuKernels>& targets() {
  static const std::vector<CpuKernels> found = find_targets();
  return found;
}

struct Engine {
  const AttentionKernels& kernels;
  bool pairs;  // of bfloat16
  std::string name;
};

std::vector<Engine> engines(Element element) {
  static const char* const names[] = {" float", " double", " half", " bfloat16"};
  std::vector<Engine> found;
  for (const CpuKernels& target : targets()) {
    const std::string name = target.name + std::string(names[static_cast<int>(element)]);
    found.push_back({element == Element::Double ? target.float64 : target.float32, false, name});
    if (element == Element::BFloat16 && target.bfloat16.lanes)
      found.push_back({target.bfloat16, true, name + " pairs"});
  }
  return found;
}

// Relative to the largest value. Inputs are exact; half types round the result once, by up to 2^-11 or 2^-8 of it.
double tolerance_of(Element element) {
  switch (element) {
    case Element::Float:
      return 2e-5;
    case Element::Double:
      return 1e-11;
    case Element::Half:
      return 5e-4;
    default:
      return 4e-3;
  }
}
constexpr double kPairsAttention = 8e-3;  // weights are rounded too
constexpr double kPairsFusion = 2e-2;     // and so are warped pixels, keys, queries and values
constexpr double kPairsLogits = 4e-2;     // and what they are classified to

// Where one is not finite, the other must not be either.
void check_close(const std::string& what, const Array& found, const Array& expected, double tolerance) {
  double largest = 1e-30, most = 0;
  size_t where = 0;
  for (const double value : expected.values)
    largest = std::isfinite(value) ? std::max(largest, std::fabs(value)) : largest;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    const double a = found.values[i], b = expected.values[i];
    const double off = std::isfinite(a) && std::isfinite(b) ? std::fabs(a - b) / largest
                                                            : (std::isfinite(a) == std::isfinite(b) ? 0 : kInf);
    if (off > most) most = off, where = i;
  }
  if (most <= tolerance) return;
  const int64_t plane = expected.h * expected.w, at = static_cast<int64_t>(where);
  std::fprintf(stderr, "%s: %.9g, expected %.9g at channel %d, row %d, column %d; off by %.3g of the largest\n",
               what.c_str(), found.values[where], expected.values[where], static_cast<int>(at / plane % expected.c),
               static_cast<int>(at / expected.w % expected.h), static_cast<int>(at % expected.w), most);
  ++check::failures;
}

struct Cut {
  int64_t pixels, rows;
};

// Runs a kernel over all tiles, each with fresh scratch of the exact size.
template <typename Params>
void run(const TileKernel<Params>& kernel, const Params& params, Cut cut, const Map& map) {
  Memory scratch(kernel.scratch(params, cut.pixels), 64);
  for (int64_t n = 0; n < map.size[0]; ++n) {
    for (int64_t y = 0; y < map.height(); y += cut.rows) {
      for (int64_t x = 0; x < map.width(); x += cut.pixels) {
        scratch.spoil();
        kernel.run(params, cut.pixels, Tile{n, x, y, std::min(y + cut.rows, map.height())}, scratch.data());
      }
    }
  }
}

// Tile widths and bands; bands are multiples of 6 rows, as tiles.h cuts them, where rows are paired.
std::vector<Cut> cuts(const Engine& engine) {
  const int64_t lanes = engine.kernels.lanes;
  return {{lanes, 1000}, {2 * lanes, engine.pairs ? 6 : 4}, {round_up(64, lanes), engine.pairs ? 12 : 5}};
}

// As operators do: a tile writes the map itself if it can. Memory of these maps is aligned to cache lines.
void set_direct(AttentionParams& params, const AttentionKernels& kernels, int64_t written, bool streaming) {
  const int64_t bytes = bytes_of(params.out.element);
  params.direct = params.out.element == kernels.stored && params.out.stride[1] == 1 && params.out.channels() == written;
  params.streaming = streaming && params.direct && params.out.channels() % (2 * kernels.lanes) == 0 &&
                     params.out.stride[2] * bytes % 64 == 0 && params.out.stride[3] * bytes % 64 == 0 &&
                     params.out.stride[0] * bytes % 64 == 0;
}

// Runs an attention or fusion with all cuts. The first is compared with what is expected, the others with the first.
template <typename Params>
void check_features(const std::string& name, const Engine& engine, const TileKernel<Params>& kernel, Params params,
                    const Array& expected, Element element, Layout layout, double tolerance, int64_t written) {
  Memory first(1);
  bool streaming = false;
  for (const Cut& cut : cuts(engine)) {
    Buffer out(expected.n, expected.c, expected.h, expected.w, element, layout, 64);
    params.out = out.map;
    set_direct(params, engine.kernels, written, streaming);
    run(kernel, params, cut, out.map);
    CHECK(out.gaps_untouched());
    if (!streaming) {
      check_close(engine.name + name, out.read(), expected, tolerance);
      first = std::move(out.memory);
    } else if (!(first == out.memory)) {
      std::fprintf(stderr, "%s%s: the cut into tiles changes bits\n", engine.name.c_str(), name.c_str());
      ++check::failures;
    }
    streaming = true;
  }
}

struct AttentionCase {
  int64_t n, c, value_channels, h, w;
  Window window;
  Outside outside;
  double scale;
  Layout query, key, value, out;
};
constexpr auto kLast = Layout::Last, kFirst = Layout::First, kGaps = Layout::Gaps, kOdd = Layout::Odd;

const AttentionCase kAttention[] = {
    {1, 16, 16, 13, 37, {7, 7}, Outside::Zero, 0.5, kLast, kLast, kLast, kLast},
    {2, 3, 5, 4, 20, {3, 3}, Outside::Masked, -0.7, kFirst, kFirst, kOdd, kFirst},
    {1, 17, 64, 7, 19, {9, 3}, Outside::Zero, 1, kLast, kGaps, kLast, kLast},
    {1, 1, 1, 11, 1, {5, 7}, Outside::Masked, 1, kOdd, kFirst, kLast, kOdd},
    {1, 64, 17, 6, 66, {15, 15}, Outside::Zero, 0.3, kLast, kLast, kFirst, kGaps},
    {2, 48, 48, 1, 33, {5, 7}, Outside::Masked, 0.4, kGaps, kOdd, kLast, kLast},
    {1, 3, 32, 14, 5, {13, 11}, Outside::Masked, 0, kFirst, kLast, kGaps, kLast},
};

std::string text(const AttentionCase& of) {
  return ": [" + std::to_string(of.n) + ", " + std::to_string(of.c) + " and " + std::to_string(of.value_channels) +
         ", " + std::to_string(of.h) + ", " + std::to_string(of.w) + "], window " + std::to_string(of.window.height) +
         " x " + std::to_string(of.window.width);
}

void attention_of(const AttentionCase& of, Element element, Array q, Array k, Array v, const std::string& what) {
  const Buffer query(q, element, of.query), key(k, element, of.key), value(v, element, of.value);
  q = query.read(), k = key.read(), v = value.read();
  const Attention expected = attention(q, k, v, of.window, of.outside, of.scale);
  for (const Engine& engine : engines(element)) {
    const Element computes = element == Element::Double ? element : Element::Float;
    Buffer logsumexp(of.n, 1, of.h, of.w, computes, kFirst);
    MapAttentionParams params;
    params.window = of.window;
    params.outside = of.outside;
    params.logsumexp = logsumexp.map.data;
    params.query = query.map;
    params.key = key.map;
    params.value = value.map;
    params.scale = of.scale;
    check_features(what + text(of), engine, engine.kernels.attention, params, expected.out, element, of.out,
                   engine.pairs ? kPairsAttention : tolerance_of(element),
                   round_up(of.value_channels, engine.kernels.lanes));
    check_close(engine.name + " logsumexp" + text(of), logsumexp.read(), expected.logsumexp, tolerance_of(computes));
  }
}

void attention_matches(Element element) {
  for (const AttentionCase& of : kAttention) {
    attention_of(of, element, random_array(of.n, of.c, of.h, of.w, 1), random_array(of.n, of.c, of.h, of.w, 2),
                 random_array(of.n, of.value_channels, of.h, of.w, 3), " attention");
  }
}

void bad_values_stay_in_their_windows(Element element) {
  for (const AttentionCase& of :
       {AttentionCase{1, 16, 32, 14, 35, {3, 5}, Outside::Zero, 0.5, kLast, kLast, kLast, kLast},
        AttentionCase{1, 3, 5, 9, 20, {5, 3}, Outside::Masked, 1, kFirst, kLast, kGaps, kFirst}}) {
    for (int which = 0; which < 3; ++which) {
      for (const double bad : {kNan, kInf}) {
        Array maps[3] = {random_array(1, of.c, of.h, of.w, 1), random_array(1, of.c, of.h, of.w, 2),
                         random_array(1, of.value_channels, of.h, of.w, 3)};
        maps[which].at(0, 1, 4, 17) = bad;
        maps[which].at(0, 2, of.h - 1, 0) = -bad;
        attention_of(of, element, maps[0], maps[1], maps[2],
                     std::string(which == 0   ? " query"
                                 : which == 1 ? " key"
                                              : " value") +
                         " not finite");
      }
    }
  }
}

void backward_of(const AttentionCase& of, Element element, double spread, double shift, double tolerance) {
  Array q = random_array(of.n, of.c, of.h, of.w, 1, spread), k = random_array(of.n, of.c, of.h, of.w, 2, spread);
  Array v = random_array(of.n, of.value_channels, of.h, of.w, 3), g = random_array(of.n, v.c, of.h, of.w, 4);
  for (double& value : q.values) value += shift;
  for (double& value : k.values) value -= shift;
  const Buffer query(q, element, of.query), key(k, element, of.key), value(v, element, of.value),
      grad(g, element, kOdd);
  q = query.read(), k = key.read(), v = value.read(), g = grad.read();
  const Gradients expected = attention_backward(g, q, k, v, of.window, of.outside, of.scale);
  const Element computes = element == Element::Double ? element : Element::Float;
  const Buffer logsumexp(attention(q, k, v, of.window, of.outside, of.scale).logsumexp, computes, kFirst);
  for (const Engine& engine : engines(element)) {
    if (engine.pairs) continue;
    std::vector<Memory> first;
    for (const Cut& cut : cuts(engine)) {
      Buffer dq(of.n, of.c, of.h, of.w, element, of.query), dk(of.n, of.c, of.h, of.w, element, of.key);
      Buffer dv(of.n, v.c, of.h, of.w, element, of.value), delta(of.n, 1, of.h, of.w, computes, kFirst);
      AttentionBackwardParams params{grad.map, query.map, key.map, value.map, logsumexp.map, delta.map,
                                     dq.map,   dk.map,    dv.map,  of.window, of.outside,    of.scale};
      run(engine.kernels.backward_query, params, cut, dq.map);
      run(engine.kernels.backward_key, params, cut, dq.map);
      CHECK(dq.gaps_untouched() && dk.gaps_untouched() && dv.gaps_untouched());
      if (first.empty()) {
        const std::string name = engine.name + text(of);
        check_close(name + ", delta", delta.read(), expected.delta, tolerance);
        check_close(name + ", gradient of query", dq.read(), expected.query, tolerance);
        check_close(name + ", gradient of key", dk.read(), expected.key, tolerance);
        check_close(name + ", gradient of value", dv.read(), expected.value, tolerance);
        for (Buffer* map : {&dq, &dk, &dv}) first.push_back(std::move(map->memory));
      } else {
        CHECK(first[0] == dq.memory && first[1] == dk.memory && first[2] == dv.memory);
      }
    }
  }
}

void backward_matches(Element element) {
  for (const AttentionCase& of : kAttention) backward_of(of, element, 0.6, 0, tolerance_of(element));
  // Logits near -100: the sum of the window is tiny, and what lies outside must not count as exp(0). Keys are alike, so
  // their weighted sum cancels.
  const AttentionCase far{1, 16, 5, 5, 18, {5, 5}, Outside::Masked, 1, kLast, kLast, kLast, kLast};
  if (bytes_of(element) >= 4) backward_of(far, element, 0.2, 2.5, 10 * tolerance_of(element));
}

void warp_of(const Array& feature, const Motion& motion, Element element, Layout in, Layout to) {
  const Buffer from(feature, element, in);
  const Array expected = warp(from.read(), motion.displacement, motion.field.grid);
  for (const CpuKernels& target : targets()) {
    Buffer out(feature.n, feature.c, feature.h, feature.w, element, to, 64);
    WarpParams params{from.map, out.map, motion.field, to == kLast && feature.c % 32 == 0};
    const int64_t rows = feature.n * feature.h;
    for (int64_t row = 0; row < rows; row += 3) {
      Memory scratch(target.warp_scratch(params), 64);
      target.warp(params, row, std::min(row + 3, rows), scratch.data());
    }
    check_close(std::string(target.name) + " warp, element " + std::to_string(static_cast<int>(element)) + ", " +
                    std::to_string(feature.c) + " channels",
                out.read(), expected, tolerance_of(element));
    CHECK(out.gaps_untouched());
  }
}

void warp_matches(Element element) {
  for (const Grid grid : {Grid::Aligned, Grid::Legacy}) {
    int i = 0;
    for (const int64_t channels : {1, 3, 16, 35, 64}) {
      const Layout in = i % 2 ? kGaps : kLast, to = Layout((i + 1) % 4);
      const Array feature = random_array(2, channels, 5, 67, 1);
      warp_of(feature, block_motion(2, 5, 67, grid, 2), element, in, to);
      warp_of(feature, dense_motion(2, 5, 67, grid, 3, Element(i % 4), Layout(i % 4)), element, in, kLast);
      ++i;
    }
    warp_of(random_array(1, 17, 1, 9, 1), block_motion(1, 1, 9, grid, 2), element, kLast, kFirst);
    warp_of(random_array(1, 17, 9, 1, 1), dense_motion(1, 9, 1, grid, 2, element, kOdd), element, kLast, kLast);
  }
  Array feature = random_array(1, 33, 6, 20, 1);
  feature.at(0, 2, 3, 7) = kNan;
  feature.at(0, 32, 0, 19) = kInf;
  warp_of(feature, block_motion(1, 6, 20, Grid::Aligned, 2), element, kLast, kFirst);
}

struct FusionCase {
  int64_t n, c, classes, h, w, low_h, low_w;
  Window window;
  Outside outside;
  bool dense;
  Grid grid;
  Layout in, out;
};

const FusionCase kFusion[] = {
    {1, 16, 19, 13, 37, 7, 19, {7, 7}, Outside::Zero, false, Grid::Aligned, kLast, kLast},
    {2, 3, 2, 4, 20, 9, 41, {3, 3}, Outside::Masked, true, Grid::Legacy, kGaps, kFirst},
    // Half of a block of channels for pairs, up to the last pixel.
    {1, 16, 16, 6, 48, 3, 24, {3, 3}, Outside::Zero, false, Grid::Aligned, kLast, kLast},
    {1, 48, 16, 6, 48, 3, 24, {3, 3}, Outside::Zero, false, Grid::Aligned, kLast, kGaps},
    {1, 64, 32, 8, 18, 8, 18, {9, 3}, Outside::Zero, false, Grid::Legacy, kLast, kLast},
    {1, 17, 1, 1, 35, 3, 1, {5, 7}, Outside::Zero, true, Grid::Aligned, kLast, kOdd},
    {1, 1, 3, 11, 1, 1, 1, {15, 15}, Outside::Masked, false, Grid::Aligned, kLast, kLast},
};

// A matrix [rows][columns] of the type that computes, padded with 0, in memory of its exact size.
Memory packed(const Array& weights, int64_t rows, int64_t columns, Element element) {
  const Element computes = element == Element::Double ? element : Element::Float;
  Memory memory(rows * columns * bytes_of(computes), 64);
  std::memset(memory.data(), 0, static_cast<size_t>(memory.bytes()));
  for (int64_t c = 0; c < weights.c; ++c) {
    for (int64_t r = 0; r < weights.h; ++r) {
      write_element(memory.data() + (r * columns + c) * bytes_of(computes), computes, weights.at(0, c, r, 0));
    }
  }
  return memory;
}

Array rounded(const Array& array, Element element) { return Buffer(array, element, kLast).read(); }

void fusion_of(const FusionCase& of, Element element, const Array& reference_map, const Array& low_map) {
  const Motion motion = of.dense ? dense_motion(of.n, of.h, of.w, of.grid, 3, Element::Float, kLast)
                                 : block_motion(of.n, of.h, of.w, of.grid, 3);
  const Buffer reference(reference_map, element, of.in), low(low_map, element, of.in);
  const Buffer low_logits(random_array(of.n, of.classes, of.low_h, of.low_w, 4), element, of.in);
  std::vector<Array> weights;
  for (unsigned i = 0; i < 3; ++i) weights.push_back(rounded(random_array(1, of.c, 10, 1, 5 + i, 0.3), element));
  const Array classifier = rounded(random_array(1, of.classes, of.c, 1, 9, 0.3), element);
  const Array bias = rounded(random_array(1, of.classes, 1, 1, 10), element);
  const Array warped = warp(reference.read(), motion.displacement, of.grid), resized = resize(low.read(), of.h, of.w);
  const Array query = convolve(resized, weights[0]), key = convolve(warped, weights[1]);
  const Array value = convolve(warped, weights[2]);
  const Array features = sum(attention(query, key, value, of.window, of.outside, 1).out, resized);
  const Array logits = with_bias(sum(attention(query, key, classify(value, classifier), of.window, of.outside, 1).out,
                                     resize(low_logits.read(), of.h, of.w)),
                                 bias);
  for (const Engine& engine : engines(element)) {
    FusionParams params;
    params.window = of.window;
    params.outside = of.outside;
    params.reference = reference.map;
    params.low_res = low.map;
    params.motion = motion.field;
    params.padded_channels = round_up(of.c, engine.kernels.block_channels);
    std::vector<Memory> convolutions;
    for (const Array& each : weights) convolutions.push_back(packed(each, 10, params.padded_channels, element));
    params.query_weights = convolutions[0].data();
    params.key_weights = convolutions[1].data();
    params.value_weights = convolutions[2].data();
    const std::string size = ": " + std::to_string(of.c) + " channels, " + std::to_string(of.h) + " x " +
                             std::to_string(of.w) + ", " + std::to_string(of.classes) + " classes";
    check_features(" fusion" + size, engine, engine.kernels.fusion, params, features, element, of.out,
                   engine.pairs ? kPairsFusion : tolerance_of(element), params.padded_channels);

    const int64_t padded_classes = round_up(of.classes, engine.kernels.lanes);
    const Memory classes = packed(classifier, params.padded_channels, padded_classes, element);
    const Memory biases = packed(bias, 1, padded_classes, element);
    params.classifier = classes.data();
    params.classifier_bias = biases.data();
    params.low_res_logits = low_logits.map;
    const double tolerance = engine.pairs ? kPairsLogits : tolerance_of(element);
    check_features(" logits" + size, engine, engine.kernels.fusion, params, logits, element, of.out, tolerance,
                   padded_classes);

    // The chosen class is the largest or as good as that.
    Memory labels(of.n * of.h * of.w);
    params.out = shape_of(of.n, of.classes, of.h, of.w, element, kLast);
    params.labels = labels.data();
    params.direct = params.streaming = false;
    run(engine.kernels.fusion, params, cuts(engine)[1], params.out);
    bool best = true;
    for (int64_t i = 0; i < labels.bytes(); ++i) {
      const int64_t n = i / (of.h * of.w), y = i / of.w % of.h, x = i % of.w, label = labels.data()[i];
      for (int64_t k = 0; k < of.classes; ++k) {
        best = best && label < of.classes && !(logits.at(n, k, y, x) > logits.at(n, label, y, x) + 8 * tolerance);
      }
    }
    CHECK(best);
  }
}

void fusion_matches(Element element) {
  for (const FusionCase& of : kFusion) {
    fusion_of(of, element, random_array(of.n, of.c, of.h, of.w, 1), random_array(of.n, of.c, of.low_h, of.low_w, 2));
  }
  const FusionCase bad{1, 3, 5, 14, 40, 7, 20, {3, 5}, Outside::Zero, false, Grid::Aligned, kLast, kLast};
  for (const double value : {kNan, kInf}) {
    Array reference = random_array(1, 3, bad.h, bad.w, 1), low = random_array(1, 3, bad.low_h, bad.low_w, 2);
    reference.at(0, 1, 6, 20) = value;
    fusion_of(bad, element, reference, low);
    reference.at(0, 1, 6, 20) = 0;
    low.at(0, 2, 3, 11) = value;
    fusion_of(bad, element, reference, low);
  }
}

void copies_are_exact(Element element) {
  for (const int64_t channels : {1, 17, 48}) {
    for (int i = 0; i < 16; ++i) {
      const Buffer from(random_array(2, channels, 3, 65, 1), element, Layout(i / 4));
      for (const CpuKernels& target : targets()) {
        Buffer to(2, channels, 3, 65, element, Layout(i % 4));
        const CopyParams params{from.map, to.map};
        Memory scratch(target.copy_scratch(params), 64);
        target.copy(params, 0, 4, scratch.data());
        target.copy(params, 4, 6, scratch.data());
        check_close(std::string(target.name) + " copy", to.read(), from.read(), 0);
        CHECK(to.gaps_untouched());
      }
    }
  }
}

void resized_labels_match(Element element) {
  for (const bool align_corners : {false, true}) {
    for (const int64_t classes : {1, 19, 33}) {
      const Buffer from(random_array(2, classes, 5, 9, 1), element, classes == 19 ? kGaps : kLast);
      const Array logits = resize(from.read(), 11, 70, align_corners);
      for (const CpuKernels& target : targets()) {
        Memory labels(2 * 11 * 70);
        const ResizeLabelsParams params{from.map, 11, 70, align_corners, labels.data()};
        Memory scratch(target.resize_labels_scratch(params), 64);
        target.resize_labels(params, 0, 22, scratch.data());
        bool best = true;
        for (int64_t i = 0; i < labels.bytes(); ++i) {
          const int64_t n = i / (11 * 70), y = i / 70 % 11, x = i % 70, label = labels.data()[i];
          for (int64_t k = 0; k < classes; ++k) {
            best = best && label < classes && logits.at(n, k, y, x) <= logits.at(n, label, y, x) + 1e-5;
          }
        }
        CHECK(best);
      }
    }
  }
}

}  // namespace

int main() {
  for (const CpuKernels& target : targets()) std::printf("%s\n", target.name);
  for (const Element element : {Element::Float, Element::Double, Element::Half, Element::BFloat16}) {
    attention_matches(element);
    bad_values_stay_in_their_windows(element);
    backward_matches(element);
    warp_matches(element);
    fusion_matches(element);
    copies_are_exact(element);
    resized_labels_match(element);
  }
  return check::report("kernels");
}
