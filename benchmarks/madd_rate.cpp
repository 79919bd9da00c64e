// Peak rate of 16-bit multiply-adds of one core, by instruction: JSON, multiplications per second.
//
// Twelve independent sums in registers and no memory: what a kernel could reach if it did
// nothing but multiply and add. In assembly, so that nothing is optimised away or added. What
// is in the registers does not matter.
#include <chrono>
#include <cstdio>

namespace {

constexpr int kSums = 12;
constexpr long kRounds = 200'000;
constexpr int kRepeats = 25;

#define ROUNDS(instructions) "1:\n .irp sum, 0,1,2,3,4,5,6,7,8,9,10,11\n" instructions " .endr\n"

#if defined(__x86_64__)

#define MEASURED(name, instructions)                                                             \
  void name() {                                                                                  \
    long rounds = kRounds;                                                                       \
    asm volatile(ROUNDS(instructions) "dec %0\n jnz 1b"                                          \
                 : "+r"(rounds)                                                                  \
                 :                                                                               \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                   "xmm9", "xmm10", "xmm11", "xmm14", "xmm15");                                  \
  }

MEASURED(avx2,
         "vpmaddwd %%ymm15, %%ymm15, %%ymm14\n"
         "vpaddd %%ymm14, %%ymm\\sum, %%ymm\\sum\n")
MEASURED(avx512,
         "vpmaddwd %%zmm15, %%zmm15, %%zmm14\n"
         "vpaddd %%zmm14, %%zmm\\sum, %%zmm\\sum\n")
MEASURED(avx512_vnni, "vpdpwssd %%zmm15, %%zmm15, %%zmm\\sum\n")

#elif defined(__aarch64__)

void neon() {
  long rounds = kRounds;
  asm volatile(ROUNDS("smlal2 v\\sum\\().4s, v15.8h, v15.8h\n") "subs %0, %0, #1\n b.ne 1b"
               : "+r"(rounds)
               :
               : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11",
                 "v15");
}

#endif

bool any = false;

void report(const char* name, void (*run)(), int multiplications) {
  double best = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (seconds.count() < best) best = seconds.count();
  }
  std::printf("%s\"%s\": %.4g", any ? ", " : "", name,
              double{kSums} * kRounds * multiplications / best);
  any = true;
}

}  // namespace

int main() {
  std::printf("{");
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) report("avx2: vpmaddwd + vpaddd", avx2, 16);
  if (__builtin_cpu_supports("avx512bw")) report("avx512: vpmaddwd + vpaddd", avx512, 32);
  if (__builtin_cpu_supports("avx512vnni")) report("avx512: vpdpwssd", avx512_vnni, 32);
#elif defined(__aarch64__)
  report("neon: smlal2", neon, 4);
#endif
  std::puts("}");
}
