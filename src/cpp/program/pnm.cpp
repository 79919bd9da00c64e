#include "program/pnm.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace coolchic {

bool pnm_from_name(const std::string& name, Pnm* format) {
  const size_t dot = name.rfind('.');
  std::string extension = dot == std::string::npos ? "" : name.substr(dot);
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".pnm")
    *format = Pnm::kAny;
  else if (extension == ".pgm")
    *format = Pnm::kPgm;
  else if (extension == ".ppm")
    *format = Pnm::kPpm;
  else if (extension == ".pam")
    *format = Pnm::kPam;
  else
    return false;
  return true;
}

std::string pnm_header(Pnm format, uint32_t width, uint32_t height, uint32_t channels,
                       uint32_t bits) {
  constexpr const char* kTypes[] = {"GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA"};
  const std::string w = std::to_string(width), h = std::to_string(height);
  const std::string white = std::to_string((1u << bits) - 1);
  if (format == Pnm::kAny)
    format = channels == 1 ? Pnm::kPgm : channels == 3 ? Pnm::kPpm : Pnm::kPam;
  if (format == Pnm::kPam)
    return "P7\nWIDTH " + w + "\nHEIGHT " + h + "\nDEPTH " + std::to_string(channels) +
           "\nMAXVAL " + white + "\nTUPLTYPE " + kTypes[channels - 1] + "\nENDHDR\n";
  if (channels != (format == Pnm::kPgm ? 1u : 3u)) return "";
  return (format == Pnm::kPgm ? "P5\n" : "P6\n") + w + " " + h + "\n" + white + "\n";
}

void to_pnm_order(uint16_t* samples, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const unsigned char bytes[2] = {static_cast<unsigned char>(samples[i] >> 8),
                                    static_cast<unsigned char>(samples[i] & 255)};
    std::memcpy(&samples[i], bytes, sizeof bytes);
  }
}

}  // namespace coolchic
