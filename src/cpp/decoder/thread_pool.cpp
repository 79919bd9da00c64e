#include "decoder/thread_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace coolchic {

void ThreadPool::add_workers(int threads) {
  try {
    while (static_cast<int>(workers_.size()) + 1 < threads)
      workers_.emplace_back(&ThreadPool::work, this);
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do the work.
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int count, const std::function<void(int)>& task) {
  const int threads = std::min(threads_, count);
  if (threads > 1) add_workers(threads);
  if (workers_.empty()) {
    for (int i = 0; i < count; ++i) task(i);
    return;
  }
  std::unique_lock<std::mutex> lock(mutex_);
  task_ = &task;
  count_ = left_ = count;
  next_ = 0;
  wake_.notify_all();
  take_tasks(lock);
  done_.wait(lock, [this] { return left_ == 0; });
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::take_tasks(std::unique_lock<std::mutex>& lock) {
  while (next_ < count_) {
    const int i = next_++;
    const std::function<void(int)>& task = *task_;
    lock.unlock();
    std::exception_ptr error;
    try {
      task(i);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (!error_) error_ = error;
    if (--left_ == 0) done_.notify_all();
  }
}

void ThreadPool::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || next_ < count_; });
    if (stop_) return;
    take_tasks(lock);
  }
}

}  // namespace coolchic
