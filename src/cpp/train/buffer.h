// Zeroed memory at the alignment that vector loads need.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

namespace coolchic::train {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) {
    const size_t bytes = count * sizeof(float);
    data_ = static_cast<float*>(::operator new(bytes, kAlignment));
    std::memset(data_, 0, bytes);
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { ::operator delete(data_, kAlignment); }

  float* data() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  float* data_ = nullptr;
};

}  // namespace coolchic::train
