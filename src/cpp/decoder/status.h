// How every part of the decoder says what went wrong.
#pragma once

#include <string>
#include <utility>

namespace coolchic {

enum class Code {
  kOk,
  kNotCoolchic,
  kUnsupported,
  kInvalid,
  kTruncated,
  kTrailing,
  kChecksum,
  kCorrupt,
  kTooLarge,
};

// A code and one line for people: what, and where in the file.
struct Status {
  Code code = Code::kOk;
  std::string message;

  bool ok() const { return code == Code::kOk; }
  // The first failure stays.
  void fail(Code c, std::string text) {
    if (ok()) {
      code = c;
      message = std::move(text);
    }
  }
};

}  // namespace coolchic
