// The C interface: argument checks, and the wall that no exception passes.
#include "coolchic/coolchic.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "decoder/decode.h"
#include "decoder/kernels.h"
#include "decoder/sections.h"

struct coolchic_decoder {
  std::vector<uint8_t> file;  // empty: none is open
  coolchic::Options options;
  coolchic_info info;
  std::string message;
};

namespace {

using coolchic::Code;
using coolchic::Status;

constexpr const char* kOutOfMemory = "out of memory";

// Sizes of the structs in the first version of the header.
constexpr size_t kFirstOptions =
    offsetof(coolchic_options, allow_partial) + sizeof(coolchic_options::allow_partial);
constexpr size_t kFirstInfo =
    offsetof(coolchic_info, file_bytes) + sizeof(coolchic_info::file_bytes);

coolchic_status public_code(Code code) {
  switch (code) {
    case Code::kOk:
      return COOLCHIC_OK;
    case Code::kNotCoolchic:
      return COOLCHIC_NOT_COOLCHIC;
    case Code::kUnsupported:
      return COOLCHIC_UNSUPPORTED;
    case Code::kInvalid:
      return COOLCHIC_INVALID;
    case Code::kTruncated:
      return COOLCHIC_TRUNCATED;
    case Code::kTrailing:
      return COOLCHIC_TRAILING;
    case Code::kChecksum:
      return COOLCHIC_CHECKSUM;
    case Code::kCorrupt:
      return COOLCHIC_CORRUPT;
    case Code::kTooLarge:
      return COOLCHIC_TOO_LARGE;
  }
  return COOLCHIC_INTERNAL;
}

// Runs action(), which returns a status and sets the message if that is not COOLCHIC_OK.
template <class Action>
coolchic_status guarded(coolchic_decoder* decoder, Action action) noexcept {
  if (!decoder) return COOLCHIC_OUT_OF_MEMORY;
  // The texts fit into a string without taking memory.
  try {
    decoder->message.clear();
    return action();
  } catch (const std::bad_alloc&) {
    decoder->message = kOutOfMemory;
    return COOLCHIC_OUT_OF_MEMORY;
  } catch (const std::length_error&) {
    decoder->message = kOutOfMemory;
    return COOLCHIC_OUT_OF_MEMORY;
  } catch (const std::system_error&) {
    decoder->message = "no more threads";
    return COOLCHIC_OUT_OF_MEMORY;
  } catch (...) {
    decoder->message = "internal error";
    return COOLCHIC_INTERNAL;
  }
}

coolchic_status bad_argument(coolchic_decoder* decoder, std::string what) {
  decoder->message = std::move(what);
  return COOLCHIC_BAD_ARGUMENT;
}

// The caller's options, of whatever size, as this library knows them. False if it must refuse.
bool known_options(const coolchic_options* given, coolchic_options* known) {
  *known = COOLCHIC_OPTIONS_INIT;
  if (!given) return true;
  if (given->size < kFirstOptions) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  std::memcpy(known, bytes, std::min(given->size, sizeof *known));
  return std::all_of(bytes + std::min(given->size, sizeof *known), bytes + given->size,
                     [](unsigned char byte) { return byte == 0; });
}

void fill_info(const coolchic_info& from, coolchic_info* to) {
  const size_t size = to->size;
  std::memset(to, 0, size);
  std::memcpy(to, &from, std::min(size, sizeof from));
  to->size = size;
}

coolchic_status open(coolchic_decoder* decoder, const void* data, size_t size,
                     const coolchic_options* given, coolchic_info* info) {
  decoder->file.clear();
  if (!data) return bad_argument(decoder, "data is NULL");
  if (info && info->size < kFirstInfo) return bad_argument(decoder, "size of info is not set");
  coolchic_options options;
  if (!known_options(given, &options))
    return bad_argument(decoder, "options without size, or with fields that are too new");
  if (options.threads < 0) return bad_argument(decoder, "threads must not be negative");
  if (options.scale < 0) return bad_argument(decoder, "scale must not be negative");
  if (options.cpu && !coolchic::find_kernels(options.cpu))
    return bad_argument(decoder, "no kernels '" + std::string(options.cpu) + "' on this machine");

  decoder->options = {};
  decoder->options.threads = options.threads;
  decoder->options.scale = options.scale;
  decoder->options.allow_partial = options.allow_partial != 0;
  decoder->options.check_crc = !options.ignore_checksum;
  if (options.cpu) decoder->options.cpu = options.cpu;
  if (options.max_pixels) decoder->options.limits.max_pixels = options.max_pixels;

  Status status;
  const auto* bytes = static_cast<const uint8_t*>(data);
  const coolchic::Sections sections =
      coolchic::read_sections(bytes, size, decoder->options, &status);
  if (!status.ok()) {
    decoder->message = std::move(status.message);
    return public_code(status.code);
  }
  const coolchic::Header& h = sections.header;
  coolchic_info& found = decoder->info;
  found = COOLCHIC_INFO_INIT;
  found.width = static_cast<uint32_t>(h.columns_at(options.scale));
  found.height = static_cast<uint32_t>(h.rows_at(options.scale));
  found.channels = static_cast<uint32_t>(h.channels);
  found.bit_depth = static_cast<uint32_t>(h.depth);
  found.version = static_cast<uint32_t>(h.version);
  found.sample_bytes = h.depth > 8 ? 2 : 1;
  found.grids = static_cast<uint32_t>(h.architecture.grids);
  found.partial = sections.cut_short;
  found.row_bytes = size_t{found.width} * found.channels * found.sample_bytes;
  if (found.row_bytes > std::numeric_limits<size_t>::max() / found.height) throw std::bad_alloc();
  found.picture_bytes = found.height * found.row_bytes;
  found.header_bytes = sections.header_bytes;
  found.weights_bytes = sections.weights.left();
  found.latents_bytes = sections.latents.left();
  found.file_bytes = sections.total_bytes;
  decoder->file.assign(bytes, bytes + size);
  decoder->options.check_crc = false;  // that of the copy has just been checked
  if (info) fill_info(found, info);
  return COOLCHIC_OK;
}

coolchic_status decode(coolchic_decoder* decoder, void* samples, size_t size, size_t stride) {
  const coolchic_info& info = decoder->info;
  if (decoder->file.empty()) return bad_argument(decoder, "no file is open");
  if (!samples) return bad_argument(decoder, "samples is NULL");
  if (stride == 0) stride = info.row_bytes;
  if (stride < info.row_bytes)
    return bad_argument(decoder,
                        "stride below the " + std::to_string(info.row_bytes) + " bytes of a row");
  if (size < info.row_bytes || (size - info.row_bytes) / stride < info.height - 1)
    return bad_argument(decoder, "buffer too small for the picture");

  // The decoder's own copy of the file is the one whose size has been checked above.
  Status status = coolchic::decode_into(decoder->file.data(), decoder->file.size(),
                                        decoder->options, static_cast<uint8_t*>(samples), stride);
  if (!status.ok()) {
    decoder->message = std::move(status.message);
    return public_code(status.code);
  }
  return COOLCHIC_OK;
}

}  // namespace

coolchic_decoder* coolchic_new(void) { return new (std::nothrow) coolchic_decoder(); }

void coolchic_free(coolchic_decoder* decoder) { delete decoder; }

coolchic_status coolchic_open(coolchic_decoder* decoder, const void* data, size_t size,
                              const coolchic_options* options, coolchic_info* info) {
  return guarded(decoder, [&] { return open(decoder, data, size, options, info); });
}

coolchic_status coolchic_decode(coolchic_decoder* decoder, void* samples, size_t size,
                                size_t stride) {
  return guarded(decoder, [&] { return decode(decoder, samples, size, stride); });
}

const char* coolchic_message(const coolchic_decoder* decoder) {
  return decoder ? decoder->message.c_str() : kOutOfMemory;
}

const char* coolchic_cpu(size_t index) {
  for (int i = 0; const coolchic::KernelEntry* entry = coolchic::kernel_entry(i); ++i)
    if (entry->supported() && index-- == 0) return entry->kernels->name;
  return nullptr;
}

const char* coolchic_version(void) { return COOLCHIC_VERSION; }
