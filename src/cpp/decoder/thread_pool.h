// Threads that share the tasks of a decode.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace coolchic {

class ThreadPool {
 public:
  // At most so many threads, the caller's being one of them. They are made when there are
  // tasks for them, if the system has them to give. One thread, or one task, takes no
  // synchronisation at all.
  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs task(0) … task(count - 1) and returns when all are done. They are begun in ascending
  // order, so that a task may wait for an earlier one. Throws the first exception of a task.
  void run(int count, const std::function<void(int)>& task);

 private:
  void add_workers(int threads);
  void work();
  void take_tasks(std::unique_lock<std::mutex>& lock);

  const int threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* task_ = nullptr;
  int count_ = 0;
  int next_ = 0;  // task to begin
  int left_ = 0;  // tasks that are not done
  std::exception_ptr error_;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace coolchic
