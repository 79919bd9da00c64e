// Compares the decoder's kernels with the scalar ones: prints each disagreement, and fails.
//
//     kernels_check NAME             random and extreme inputs of every operation
//     kernels_check NAME FILE…       CRC-32 of each file's samples, in order
//     kernels_check                  names of the kernels that this machine can run
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "decoder/crc32.h"
#include "decoder/decode.h"
#include "decoder/kernels.h"
#include "decoder/network.h"
#include "decoder/upsampling.h"

namespace coolchic {
namespace {

using Rows = std::vector<std::vector<int16_t>>;

int failures = 0;

void expect(bool same, const char* operation, const char* kind, int a, int b, int c) {
  if (same) return;
  std::printf("%s differs: %s inputs, parameters %d %d %d\n", operation, kind, a, b, c);
  ++failures;
}

// How input values are drawn.
struct Source {
  const char* kind;
  int16_t (*draw)(std::mt19937& random);
};

int16_t uniform(std::mt19937& random) { return static_cast<int16_t>(random()); }
int16_t small(std::mt19937& random) { return static_cast<int16_t>(random() % 7) - 3; }
int16_t sparse(std::mt19937& random) { return random() % 200 ? int16_t{0} : uniform(random); }
int16_t zeros(std::mt19937&) { return 0; }
int16_t extreme(std::mt19937& random) {
  constexpr int16_t kValues[] = {-32768, -32767, -32760, -1, 0, 1, 32759, 32766, 32767};
  return kValues[random() % (sizeof kValues / sizeof kValues[0])];
}
int16_t lowest(std::mt19937&) { return -32768; }

constexpr Source kSources[] = {{"uniform", uniform}, {"small", small},     {"sparse", sparse},
                               {"zero", zeros},      {"extreme", extreme}, {"lowest", lowest}};
constexpr int kCounts[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 50, 97, 128, 200};

Rows draw_rows(int count, int n, const Source& source, std::mt19937& random) {
  Rows rows(count, std::vector<int16_t>(round_up(n, kRowSlack) + kRowSlack));
  for (std::vector<int16_t>& row : rows)
    for (int16_t& v : row) v = source.draw(random);
  return rows;
}

template <class Row>
std::vector<Row> pointers(Rows& rows) {
  std::vector<Row> result;
  for (std::vector<int16_t>& row : rows) result.push_back(row.data());
  return result;
}

bool same_start(const Rows& a, const Rows& b, int n) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::equal(a[i].begin(), a[i].begin() + n, b[i].begin())) return false;
  return true;
}

// Widths of a network, the inputs first.
void check_network(const Kernels& k, const Kernels& truth, const std::vector<int>& widths) {
  std::mt19937 random(widths.size() * 64 + widths[0]);
  for (const Source& weights : {kSources[0], kSources[1], kSources[4], kSources[5]}) {
    for (int shift : {0, 1, 7, 13, 30}) {
      std::vector<IntegerLayer> layers;
      for (size_t l = 1; l < widths.size(); ++l) {
        IntegerLayer layer{widths[l - 1], widths[l], shift, random() % 2 == 1, {}, {}};
        for (int i = 0; i < widths[l - 1] * widths[l]; ++i)
          layer.weight.push_back(weights.draw(random));
        for (int o = 0; o < widths[l]; ++o)
          layer.bias.push_back(static_cast<int32_t>(random()) >> random() % 20);
        layers.push_back(std::move(layer));
      }
      const Network network(layers);
      for (const Source& source : kSources) {
        const int n = kCounts[random() % (sizeof kCounts / sizeof kCounts[0])];
        Rows in = draw_rows(widths.front(), n, source, random);
        Rows a = draw_rows(widths.back(), n, kSources[0], random), b = a;
        const auto from = pointers<const int16_t*>(in);
        truth.network(network.view(), from.data(), n, pointers<int16_t*>(a).data());
        k.network(network.view(), from.data(), n, pointers<int16_t*>(b).data());
        expect(same_start(a, b, n), "network", source.kind, widths[0], shift, n);
      }
    }
  }
}

void check_convolve(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(6);
  for (int channels = 1; channels <= kMaxChannels; ++channels) {
    for (const Source& weights : {kSources[0], kSources[1], kSources[4], kSources[5]}) {
      for (int shift : {0, 1, 7, 13, 30}) {
        IntegerLayer layer{kKernelSize * channels, channels, shift, random() % 2 == 1, {}, {}};
        for (int i = 0; i < layer.inputs * channels; ++i)
          layer.weight.push_back(weights.draw(random));
        for (int o = 0; o < channels; ++o)
          layer.bias.push_back(static_cast<int32_t>(random()) >> random() % 20);
        const Network network({layer});
        for (const Source& source : kSources) {
          for (int n : kCounts) {
            Rows in = draw_rows(3 * channels, n + 2, source, random);
            Rows a = draw_rows(channels, n, kSources[0], random), b = a;
            auto from = pointers<const int16_t*>(in);
            for (const int16_t*& row : from) ++row;
            const LayerView& view = network.view().layers[0];
            truth.convolve(view, from.data(), n, pointers<int16_t*>(a).data());
            k.convolve(view, from.data(), n, pointers<int16_t*>(b).data());
            expect(same_start(a, b, n), "convolve", source.kind, channels, shift, n);
          }
        }
      }
    }
  }
}

void check_predictions(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(1);
  // Every value of one output, with the other's extremes among them.
  constexpr int kAll = 1 << 16;
  Rows z(2, std::vector<int16_t>(kAll + kRowSlack));
  for (int i = 0; i < kAll; ++i) {
    z[0][i] = static_cast<int16_t>(i);
    z[1][i] = static_cast<int16_t>(i * 40503u);
  }
  for (int precision = 4; precision <= 12; ++precision) {
    std::vector<uint16_t> rows_a(kAll + kRowSlack), rows_b = rows_a;
    std::vector<int16_t> means_a(kAll + kRowSlack), means_b = means_a;
    truth.predictions(z[0].data(), z[1].data(), kAll, precision, rows_a.data(), means_a.data());
    k.predictions(z[0].data(), z[1].data(), kAll, precision, rows_b.data(), means_b.data());
    expect(std::equal(rows_a.begin(), rows_a.begin() + kAll, rows_b.begin()) &&
               std::equal(means_a.begin(), means_a.begin() + kAll, means_b.begin()),
           "predictions", "all", precision, 0, 0);
  }
}

void check_symbols(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(2);
  for (int lanes : {1, 2, 4, 8}) {
    for (int repeat = 0; repeat < 400; ++repeat) {
      const int n = static_cast<int>(random() % 300);
      std::vector<uint8_t> words(2 * n);
      for (uint8_t& byte : words) byte = static_cast<uint8_t>(random());
      std::vector<uint16_t> rows(n + kRowSlack);
      for (uint16_t& row : rows) row = static_cast<uint16_t>(random() % (kScales * kFractions));
      Rows means = draw_rows(1, n, kSources[1], random), a = means, b = means;
      RangeLanes start{{}, lanes, words.data(), words.data() + words.size()};
      for (int lane = 0; lane < lanes; ++lane) start.state[lane] = kLowerBound | random();
      RangeLanes of_a = start, of_b = start;
      std::vector<uint16_t> escaped_a(n + kRowSlack), escaped_b(n + kRowSlack);
      const int count_a =
          truth.symbols(&of_a, rows.data(), means[0].data(), n, a[0].data(), escaped_a.data());
      const int count_b =
          k.symbols(&of_b, rows.data(), means[0].data(), n, b[0].data(), escaped_b.data());
      bool same = count_a == count_b && of_a.next == of_b.next &&
                  std::equal(of_a.state, of_a.state + lanes, of_b.state) &&
                  std::equal(escaped_a.begin(), escaped_a.begin() + count_a, escaped_b.begin());
      for (int e = 0; same && e < count_a; ++e) a[0][escaped_a[e]] = b[0][escaped_a[e]];
      expect(same && same_start(a, b, n), "symbols", "random", lanes, n, repeat);
    }
  }
}

void check_enlarge(const Kernels& k, const Kernels& truth, const std::vector<int16_t>& taps,
                   int level, std::mt19937& random) {
  for (const Source& source : kSources) {
    for (int width : {1, 2, 3, 15, 16, 31, 33, 100, 517}) {
      const int columns = (width + (1 << level) - 1) >> level, shift = 2 + width % 13;
      Rows in = draw_rows(1, columns + 2 * kEdge, source, random);
      for (int i = 0; i < kEdge; ++i) {
        in[0][i] = in[0][kEdge];
        in[0][kEdge + columns + i] = in[0][kEdge + columns - 1];
      }
      Rows a(1, std::vector<int16_t>(kEnlargeBefore + width + kEnlargeBehind)), b = a;
      truth.enlarge(taps.data(), level, in[0].data() + kEdge, columns, shift, width,
                    a[0].data() + kEnlargeBefore);
      k.enlarge(taps.data(), level, in[0].data() + kEdge, columns, shift, width,
                b[0].data() + kEnlargeBefore);
      expect(std::equal(a[0].begin() + kEnlargeBefore, a[0].begin() + kEnlargeBefore + width,
                        b[0].begin() + kEnlargeBefore),
             "enlarge", source.kind, level, width, shift);
    }
  }
}

void check_enlarge(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(3);
  for (int level = 1; level <= 10; ++level)
    check_enlarge(k, truth, make_taps(level), level, random);
  // Kernels of subbands may be anything, and their sums wrap around.
  std::vector<int16_t> taps(2 * kTaps, 32767);
  check_enlarge(k, truth, taps, 1, random);
  for (int repeat = 0; repeat < 4; ++repeat) {
    for (int16_t& tap : taps)
      tap = static_cast<int16_t>(static_cast<int>(random() % 65535) - 32767);
    check_enlarge(k, truth, taps, 1, random);
  }
}

void check_mix(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(4);
  for (int count : {1, 2, 3, 4, 5, 7, 8}) {
    for (const Source& source : kSources) {
      for (int shift : {0, 1, 14, 15}) {
        for (int n : kCounts) {
          Rows rows = draw_rows(count, n, source, random);
          Rows weights = draw_rows(1, count, random() % 2 ? kSources[0] : source, random);
          Rows a(1, std::vector<int16_t>(n + kRowSlack)), b = a;
          const auto from = pointers<const int16_t*>(rows);
          truth.mix(from.data(), weights[0].data(), count, shift, n, a[0].data());
          k.mix(from.data(), weights[0].data(), count, shift, n, b[0].data());
          expect(same_start(a, b, n), "mix", source.kind, count, shift, n);
        }
      }
    }
  }
}

void check_transpose(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(7);
  for (int from_pitch : {8, 9, 20}) {
    for (int to_pitch : {8, 33, 70}) {
      Rows in = draw_rows(1, kTransposed * from_pitch, kSources[0], random);
      Rows a(1, std::vector<int16_t>(kTransposed * to_pitch)), b = a;
      truth.transpose(in[0].data(), from_pitch, a[0].data(), to_pitch);
      k.transpose(in[0].data(), from_pitch, b[0].data(), to_pitch);
      expect(a == b, "transpose", "uniform", from_pitch, to_pitch, 0);
    }
  }
}

void check_pixels(const Kernels& k, const Kernels& truth) {
  std::mt19937 random(5);
  constexpr uint8_t kGuard = 0xa5;
  for (int channels = 1; channels <= 4; ++channels) {
    for (const Source& source : kSources) {
      for (int n : kCounts) {
        Rows rows = draw_rows(channels, n, source, random);
        for (std::vector<int16_t>& row : rows)
          for (int16_t& v : row)
            if (random() % 2) v = static_cast<int16_t>(random() % 300) - 20;
        std::vector<uint8_t> a(n * channels + 64, kGuard), b = a;
        const auto from = pointers<const int16_t*>(rows);
        truth.pixels(from.data(), channels, n, a.data());
        k.pixels(from.data(), channels, n, b.data());
        expect(a == b, "pixels", source.kind, channels, n, 0);
      }
    }
  }
}

int check(const Kernels& k) {
  const Kernels& truth = *find_kernels("scalar");
  for (int inputs = 1; inputs <= kMaxWidth; ++inputs)
    check_network(k, truth, {inputs, 1 + (inputs * 7) % kMaxWidth, 1 + inputs % 9});
  // Those of named architectures, which kernels may know, and others.
  for (const std::vector<int>& widths : {std::vector<int>{12, 12, 12, 2},
                                         {7, 12, 12, 3},
                                         {16, 12, 12, 2},
                                         {12, 10, 10, 2},
                                         {7, 22, 3},
                                         {20, 16, 16, 2},
                                         {7, 16, 16, 3},
                                         {7, 48, 3},
                                         {9, 7, 7, 2},
                                         {7, 14, 3},
                                         {11, 7, 7, 2},
                                         {9, 12, 3},
                                         {16, 8, 8, 2},
                                         {9, 26, 3},
                                         {30, 16, 16, 2},
                                         {9, 64, 3},
                                         {24, 24, 24, 2},
                                         {16, 16, 16, 2},
                                         {7, 24, 24, 3},
                                         {32, 64, 64, 4},
                                         {64, 64, 64, 64, 64, 64, 64, 64, 4},
                                         {1, 1}})
    check_network(k, truth, widths);
  check_convolve(k, truth);
  check_predictions(k, truth);
  check_symbols(k, truth);
  check_enlarge(k, truth);
  check_mix(k, truth);
  check_transpose(k, truth);
  check_pixels(k, truth);
  return failures > 0;
}

int print_checksum(const char* kernels, const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(in)),
                                   std::istreambuf_iterator<char>());
  Options options;
  options.cpu = kernels;
  options.threads = 1;
  Image image;
  const Status status = decode(bytes.data(), bytes.size(), options, &image);
  if (!status.ok()) {
    std::printf("%s: %s\n", path, status.message.c_str());
    return 1;
  }
  std::printf("%08x\n", static_cast<unsigned>(crc32(image.samples.data(), image.samples.size())));
  return 0;
}

}  // namespace
}  // namespace coolchic

int main(int argc, char** argv) {
  using namespace coolchic;
  if (argc == 1) {
    for (int i = 0; const KernelEntry* entry = kernel_entry(i); ++i)
      if (entry->supported()) std::puts(entry->kernels->name);
    return 0;
  }
  const Kernels* kernels = find_kernels(argv[1]);
  if (!kernels) {
    std::printf("no kernels '%s' for this machine\n", argv[1]);
    return 1;
  }
  if (argc == 2) return check(*kernels);
  int failed = 0;
  for (int i = 2; i < argc; ++i) failed |= print_checksum(argv[1], argv[i]);
  return failed;
}
