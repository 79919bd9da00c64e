// Threads that wait for the next batch of tasks, spinning briefly before they sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace coolchic::train {

class ThreadPool {
 public:
  // A task gets its number and the number of the thread that runs it, below threads().
  using Task = void (*)(void* context, int task, int thread);

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs tasks 0 ... count - 1, the caller among the threads, and returns when all are done.
  // Which thread runs which task is a matter of chance, so a task's result must not depend
  // on it. Denormal numbers count as zero inside tasks; the caller's mode is restored.
  void run(int count, Task task, void* context);

  // The same for anything callable as task(number, thread).
  template <class Callable>
  void run(int count, Callable task) {
    const Task call = [](void* context, int number, int thread) {
      (*static_cast<Callable*>(context))(number, thread);
    };
    run(count, call, &task);
  }

 private:
  void work(int thread);
  void run_tasks(int thread);
  unsigned wait_for_batch(unsigned seen);

  Task task_ = nullptr;
  void* context_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};
  std::atomic<int> busy_{0};        // workers that have not finished the batch
  std::atomic<unsigned> batch_{0};  // grows by one with each batch
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

}  // namespace coolchic::train
