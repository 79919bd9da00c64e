// coolchic-dec: .cool files to PNM pictures, by the C interface alone.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "coolchic/coolchic.h"
#include "program/pnm.h"

namespace {

namespace fs = std::filesystem;

constexpr const char* kHelp =
    "usage: coolchic-dec [options] FILE.cool PICTURE\n"
    "       coolchic-dec [options] --info FILE.cool\n"
    "\n"
    "Decompresses a .cool file into a .ppm (RGB), .pgm (grey), .pam (any, with alpha) or .pnm\n"
    "(the first of these that fits) picture. - is standard input or output (as .pnm).\n"
    "\n"
    "  --info          print what is in the file, without decoding it\n"
    "  --threads N     0 is one per core (default)\n"
    "  --cpu NAME      these kernels only; `--cpu list` prints those that this machine runs\n"
    "  --scale 1/N     a preview of 1/N of the size, N a power of two\n"
    "  --allow-partial take a file that ends within its latents; grids cut off count as zero\n"
    "  --max-pixels N  refuse larger pictures (default: 134217728)\n"
    "  --help          print this\n"
    "  --version       print the version\n";

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::string input;
  std::string output;
  std::string cpu;
  coolchic_options options = COOLCHIC_OPTIONS_INIT;
  bool info = false;
};

uint64_t parse_number(const std::string& option, const std::string& text, uint64_t largest) {
  uint64_t value = 0;
  bool good = !text.empty();
  for (char c : text) {
    good = good && c >= '0' && c <= '9' && value <= (largest - (c - '0')) / 10;
    if (good) value = 10 * value + (c - '0');
  }
  if (!good) throw UsageError(option + ": not a number from 0 to " + std::to_string(largest));
  return value;
}

// k of 1/2^k, or of 1.
int parse_scale(const std::string& text) {
  constexpr int kMostGrids = 16;
  for (int k = 0; k < kMostGrids; ++k)
    if (text == "1/" + std::to_string(1 << k)) return k;
  if (text != "1") throw UsageError("--scale: not 1/N with N a power of two");
  return 0;
}

// Nothing after --help, --version and --cpu list, which it answers.
std::optional<Arguments> parse_arguments(int argc, char** argv) {
  Arguments a;
  std::vector<std::string> names;
  bool options_end = false;
  for (int i = 1; i < argc; ++i) {
    std::string text = argv[i];
    if (options_end || text == "-" || text[0] != '-') {
      names.push_back(text);
      continue;
    }
    std::string value;
    const size_t equals = text.find('=');
    const bool attached = equals != std::string::npos;
    if (attached) {
      value = text.substr(equals + 1);
      text.resize(equals);
    }
    const bool valued =
        text == "--threads" || text == "--cpu" || text == "--max-pixels" || text == "--scale";
    if (attached && !valued) throw UsageError("unknown option " + text + "=");
    if (valued && !attached) {
      if (++i == argc) throw UsageError(text + ": a value is missing");
      value = argv[i];
    }
    if (text == "--") {
      options_end = true;
    } else if (text == "--help") {
      std::fputs(kHelp, stdout);
      return std::nullopt;
    } else if (text == "--version") {
      std::printf("coolchic-dec %s\n", coolchic_version());
      return std::nullopt;
    } else if (text == "--info") {
      a.info = true;
    } else if (text == "--threads") {
      a.options.threads = static_cast<int>(parse_number(text, value, 1024));
    } else if (text == "--max-pixels") {
      a.options.max_pixels = parse_number(text, value, UINT64_MAX);
    } else if (text == "--scale") {
      a.options.scale = parse_scale(value);
    } else if (text == "--allow-partial") {
      a.options.allow_partial = 1;
    } else if (text == "--cpu" && value == "list") {
      for (size_t k = 0; coolchic_cpu(k); ++k) std::puts(coolchic_cpu(k));
      return std::nullopt;
    } else if (text == "--cpu") {
      a.cpu = value;
    } else {
      throw UsageError("unknown option " + text);
    }
  }
  if (names.size() != (a.info ? 1 : 2))
    throw UsageError(a.info ? "--info takes one file" : "two files are needed: FILE.cool PICTURE");
  a.input = names[0];
  if (!a.info) a.output = names[1];
  return a;
}

[[noreturn]] void fail_with_errno(const std::string& name) {
  throw std::runtime_error(name + ": " + std::strerror(errno));
}

struct Closer {
  void operator()(FILE* file) const { std::fclose(file); }
};
using FilePointer = std::unique_ptr<FILE, Closer>;

void make_binary(FILE* file) {
#ifdef _WIN32
  _setmode(_fileno(file), _O_BINARY);
#else
  (void)file;
#endif
}

std::vector<uint8_t> read_all(const std::string& name) {
  const bool standard = name == "-";
  FilePointer opened(standard ? nullptr : std::fopen(name.c_str(), "rb"));
  FILE* file = standard ? stdin : opened.get();
  if (!file) fail_with_errno(name);
  make_binary(file);
  std::vector<uint8_t> bytes;
  size_t size = 0, got = 0;
  do {
    bytes.resize(size + (size_t{1} << 16) + size / 2);
    got = std::fread(bytes.data() + size, 1, bytes.size() - size, file);
    size += got;
  } while (got > 0);
  if (std::ferror(file)) fail_with_errno(name);
  bytes.resize(size);
  return bytes;
}

struct Decoded {
  std::string header;  // of PNM
  std::vector<uint8_t> samples;
};

void write_to(FILE* file, const std::string& name, const Decoded& picture) {
  make_binary(file);
  const auto write = [&](const void* data, size_t size) {
    if (std::fwrite(data, 1, size, file) != size) fail_with_errno(name);
  };
  write(picture.header.data(), picture.header.size());
  write(picture.samples.data(), picture.samples.size());
  if (std::fflush(file) != 0) fail_with_errno(name);
}

// A new file beside `name`, which is gone at the end unless it has been renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name) {
    constexpr int kAttempts = 100;
    for (int i = 0; i < kAttempts && !file_; ++i) {
      path_ = name + "." + std::to_string(i) + ".part";
      file_.reset(std::fopen(path_.c_str(), "wbx"));
      if (!file_ && errno != EEXIST) break;
    }
    if (!file_) fail_with_errno(name);
  }
  ~TemporaryFile() {
    file_.reset();
    if (!path_.empty()) std::remove(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  FILE* file() const { return file_.get(); }
  const std::string& path() const { return path_; }

  void rename_to(const std::string& name) {
    if (std::fclose(file_.release()) != 0) fail_with_errno(name);
    fs::rename(path_, name);
    path_.clear();
  }

 private:
  std::string path_;
  FilePointer file_;
};

// Or a pipe: something that takes the bytes as they come.
bool is_device(const std::string& name) {
  std::error_code ignored;
  const fs::file_status status = fs::status(name, ignored);
  return fs::exists(status) && !fs::is_regular_file(status);
}

// The whole file or none of it.
void write_all(const std::string& name, const Decoded& picture) {
  if (name == "-") {
    write_to(stdout, "standard output", picture);
  } else if (is_device(name)) {
    FilePointer file(std::fopen(name.c_str(), "wb"));
    if (!file) fail_with_errno(name);
    write_to(file.get(), name, picture);
    if (std::fclose(file.release()) != 0) fail_with_errno(name);
  } else {
    TemporaryFile temporary(name);
    write_to(temporary.file(), name, picture);
    std::error_code ignored;
    const fs::file_status status = fs::status(name, ignored);
    if (fs::exists(status)) fs::permissions(temporary.path(), status.permissions(), ignored);
    temporary.rename_to(name);
  }
}

void print_info(const coolchic_info& info) {
  const double pixels = double{1} * info.width * info.height;
  std::printf("coolchic version %u: %ux%u, %u channels of %u bits, %.4f bpp\n", info.version,
              info.width, info.height, info.channels, info.bit_depth, 8 * info.file_bytes / pixels);
  const size_t rest = info.file_bytes - info.header_bytes - info.weights_bytes - info.latents_bytes;
  std::printf("%10zu bytes header\n", info.header_bytes);
  std::printf("%10zu bytes weights\n", info.weights_bytes);
  std::printf("%10zu bytes latents\n", info.latents_bytes);
  std::printf("%10zu bytes section lengths and checksum\n", rest);
  std::printf("%10zu bytes in all\n", info.file_bytes);
}

struct Freer {
  void operator()(coolchic_decoder* decoder) const { coolchic_free(decoder); }
};

void run(Arguments& a) {
  coolchic::Pnm format = coolchic::Pnm::kAny;
  if (!a.info && a.output != "-" && !is_device(a.output) &&
      !coolchic::pnm_from_name(a.output, &format))
    throw std::runtime_error(a.output + ": the extension must be .ppm, .pgm, .pam or .pnm");
  if (!a.cpu.empty()) a.options.cpu = a.cpu.c_str();

  const std::vector<uint8_t> file = read_all(a.input);
  std::unique_ptr<coolchic_decoder, Freer> decoder(coolchic_new());
  const auto check = [&](coolchic_status status) {
    if (status == COOLCHIC_OK) return;
    const std::string where = status == COOLCHIC_BAD_ARGUMENT ? "" : a.input + ": ";
    throw std::runtime_error(where + coolchic_message(decoder.get()));
  };
  coolchic_info info = COOLCHIC_INFO_INIT;
  check(coolchic_open(decoder.get(), file.data(), file.size(), &a.options, &info));
  if (a.info) return print_info(info);

  Decoded picture;
  picture.header =
      coolchic::pnm_header(format, info.width, info.height, info.channels, info.bit_depth);
  if (picture.header.empty())
    throw std::runtime_error(a.output + ": the format has no pictures of " +
                             std::to_string(info.channels) + " channels");
  picture.samples.resize(info.picture_bytes);
  check(coolchic_decode(decoder.get(), picture.samples.data(), picture.samples.size(), 0));
  if (info.sample_bytes == 2)
    coolchic::to_pnm_order(reinterpret_cast<uint16_t*>(picture.samples.data()),
                           picture.samples.size() / 2);
  write_all(a.output, picture);
}

}  // namespace

int main(int argc, char** argv) {
  int code = 1;
  try {
    std::optional<Arguments> arguments = parse_arguments(argc, argv);
    if (arguments) run(*arguments);
    if (std::fflush(stdout) != 0) fail_with_errno("standard output");
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "coolchic-dec: %s (see --help)\n", error.what());
    code = 2;
  } catch (const fs::filesystem_error& error) {
    std::fprintf(stderr, "coolchic-dec: %s: %s\n", error.path2().string().c_str(),
                 error.code().message().c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "coolchic-dec: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "coolchic-dec: %s\n", error.what());
  }
  return code;
}
