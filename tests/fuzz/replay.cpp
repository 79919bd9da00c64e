// Decodes files and damaged variants of them; meant to be built with sanitizers
// (-DCOOLCHIC_SANITIZE=ON). Every buffer has exactly the size of its bytes, so that a read past
// the end is seen. The variants are the same in every run.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "checked_decode.h"

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kMaxPixels = 1 << 20;
constexpr size_t kTruncations = 4096;
constexpr uint64_t kMultiplications = 100'000'000;  // of the flips of one file, roughly
constexpr uint64_t kFewest = 50;
constexpr uint64_t kMost = 1000;
constexpr int kMutatedPlaces = 8;

struct Counts {
  size_t files = 0;
  size_t variants = 0;
  size_t pictures = 0;
};

bool decode(const Bytes& bytes, bool check_crc, int threads, uint64_t max_pixels,
            bool allow_partial = false, int scale = 0) {
  coolchic::Options options;
  options.allow_partial = allow_partial;
  options.scale = scale;
  options.check_crc = check_crc;
  options.threads = threads;
  options.limits.max_pixels = max_pixels;
  uint8_t* exact = static_cast<uint8_t*>(std::malloc(bytes.size()));
  std::copy(bytes.begin(), bytes.end(), exact);
  const bool ok = coolchic::checked_decode(exact, bytes.size(), options);
  std::free(exact);
  return ok;
}

// Damaged variants of one file.
class Variants {
 public:
  Variants(const Bytes& bytes, Counts* counts) : bytes_(bytes), counts_(counts) {
    coolchic::Status status;
    coolchic::ByteReader in(bytes.data(), bytes.size(), &status, "file");
    const coolchic::Header header = coolchic::read_header(in, {kMaxPixels});
    if (!status.ok()) return;
    const coolchic::Architecture& a = header.architecture;
    // The decoder goes by blocks of 32 latents and makes taps for every phase of every grid.
    const uint64_t steps = header.width + uint64_t{8} * header.height;
    const uint64_t work = 32 * steps * coolchic::weight_count(a.arm) +
                          header.pixels() * coolchic::weight_count(a.synthesis) +
                          (uint64_t{200} << a.grids);
    max_pixels_ = 4 * header.pixels();
    count_ = std::clamp(kMultiplications / work, kFewest, kMost);
  }

  void truncate() {
    const size_t step = 1 + bytes_.size() / kTruncations;
    for (size_t size = 0; size < bytes_.size(); size += step)
      attempt(Bytes(bytes_.begin(), bytes_.begin() + size));
  }

  void flip() {
    Bytes bytes = bytes_;
    // An odd step meets every bit of a byte.
    const size_t step = 8 * bytes.size() / count_ | 1;
    for (size_t bit = 0; bit < 8 * bytes.size(); bit += step) {
      bytes[bit / 8] ^= 1 << bit % 8;
      attempt(bytes);
      bytes[bit / 8] ^= 1 << bit % 8;
    }
  }

  void mutate() {
    std::mt19937 random(static_cast<uint32_t>(bytes_.size()));
    for (uint64_t i = 0; i < count_ / 5; ++i) {
      Bytes bytes = bytes_;
      for (int n = 1 + random() % kMutatedPlaces; n > 0 && !bytes.empty(); --n) {
        const auto at = bytes.begin() + random() % bytes.size();
        switch (random() % 4) {
          case 0:
            *at = static_cast<uint8_t>(random());
            break;
          case 1:
            *at = random() % 2 ? 0xff : 0x00;
            break;
          case 2:
            bytes.erase(at);
            break;
          default:
            bytes.insert(at, static_cast<uint8_t>(random()));
        }
      }
      attempt(bytes);
    }
  }

 private:
  void attempt(const Bytes& bytes) {
    ++counts_->variants;
    // Every other variant as a file that may end early, and at some scale.
    const size_t n = counts_->variants;
    counts_->pictures += decode(bytes, false, 1 + n / 8 % 2, max_pixels_, n % 2, n / 2 % 4);
  }

  const Bytes& bytes_;
  Counts* counts_;
  uint64_t max_pixels_ = 64;
  uint64_t count_ = kMost;
};

}  // namespace

int main(int argc, char** argv) {
  Counts counts;
  for (int i = 1; i < argc; ++i) {
    std::ifstream in(argv[i], std::ios::binary);
    const Bytes bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (!in) {
      std::fprintf(stderr, "replay: cannot read %s\n", argv[i]);
      return 1;
    }
    ++counts.files;
    for (int threads : {1, 2, 5}) decode(bytes, true, threads, kMaxPixels);
    Variants variants(bytes, &counts);
    variants.truncate();
    variants.flip();
    variants.mutate();
  }
  std::printf("replay: %zu files, %zu damaged variants, of which %zu still gave pictures\n",
              counts.files, counts.variants, counts.pictures);
  return 0;
}
