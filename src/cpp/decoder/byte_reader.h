// The one way into a file's bytes: bounds-checked, with a sticky error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "decoder/status.h"

namespace coolchic {

// After a failure every read yields zero and nothing moves, so that a parser may read a
// whole structure and look at the status once. Sub-readers share the status.
class ByteReader {
 public:
  ByteReader(const uint8_t* data, size_t size, Status* status, const char* name)
      : ByteReader(data, size, 0, status, name) {}

  bool ok() const { return status_->ok(); }
  size_t left() const { return ok() ? size_ - position_ : 0; }
  size_t offset() const { return base_ + position_; }  // in the file
  const uint8_t* data() const { return data_ + position_; }

  uint8_t u8() {
    if (!need(1)) return 0;
    return data_[position_++];
  }

  // Section 1: the shortest form only, below 2^32.
  uint32_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const uint8_t byte = u8();
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte & 0x80) continue;
      if (value >> 32 || (byte == 0 && shift > 0)) break;
      return static_cast<uint32_t>(value);
    }
    fail(Code::kInvalid, "malformed number");
    return 0;
  }

  // The next `size` bytes as a reader of their own.
  ByteReader sub(size_t size, const char* name) {
    if (!need(size)) size = 0;
    ByteReader reader(data_ + position_, size, offset(), status_, name);
    position_ += size;
    return reader;
  }

  void fail(Code code, const std::string& what) {
    status_->fail(code, what + " (" + name_ + ", byte " + std::to_string(offset()) + ")");
  }

 private:
  ByteReader(const uint8_t* data, size_t size, size_t base, Status* status, const char* name)
      : data_(data), size_(size), base_(base), status_(status), name_(name) {}

  bool need(size_t n) {
    if (!ok()) return false;
    if (size_ - position_ >= n) return true;
    fail(Code::kTruncated, "truncated file");
    return false;
  }

  const uint8_t* data_;
  size_t size_;
  size_t base_;
  size_t position_ = 0;
  Status* status_;
  const char* name_;
};

}  // namespace coolchic
