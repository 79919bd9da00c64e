#include "thread_pool.h"

#include "flush_denormals.h"

namespace coolchic::train {

namespace {

// Some 50 microseconds: longer than the pauses between the passes of an iteration, shorter
// than anyone would miss.
constexpr int kSpins = 2000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    ++batch_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int count, Task task, void* context) {
  task_ = task;
  context_ = context;
  count_ = count;
  next_ = 0;
  busy_ = static_cast<int>(workers_.size());
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++batch_;
  }
  wake_.notify_all();
  {
    FlushDenormals mode;
    run_tasks(0);
  }
  for (int spins = 0; busy_.load(std::memory_order_acquire) > 0; ++spins) {
    spins < kSpins ? pause() : std::this_thread::yield();
  }
}

void ThreadPool::run_tasks(int thread) {
  for (int i = next_++; i < count_; i = next_++) task_(context_, i, thread);
}

void ThreadPool::work(int thread) {
  FlushDenormals mode;
  unsigned seen = 0;
  while (true) {
    seen = wait_for_batch(seen);
    if (stop_) return;
    run_tasks(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

unsigned ThreadPool::wait_for_batch(unsigned seen) {
  for (int spins = 0; spins < kSpins; ++spins) {
    const unsigned batch = batch_.load(std::memory_order_acquire);
    if (batch != seen) return batch;
    pause();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  wake_.wait(lock, [&] { return batch_ != seen; });
  return batch_;
}

}  // namespace coolchic::train
