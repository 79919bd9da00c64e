// The PNM family of picture formats: PGM (grey), PPM (RGB) and PAM (these, with or without
// alpha), all in their binary form and with up to 16 bits per sample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace coolchic {

enum class Pnm { kAny, kPgm, kPpm, kPam };

// By the file's extension, in any case: .pgm, .ppm, .pam, or .pnm for the simplest that fits.
// False if it is another one.
bool pnm_from_name(const std::string& name, Pnm* format);

// Header up to the samples, for channels 1 to 4 and bits 1 to 16. Empty if the format cannot
// hold that many channels. kAny: PGM, PPM, or PAM where there is alpha.
std::string pnm_header(Pnm format, uint32_t width, uint32_t height, uint32_t channels,
                       uint32_t bits);

// Turns samples of 16 bits from the machine's byte order into PNM's, the high byte first.
void to_pnm_order(uint16_t* samples, size_t count);

}  // namespace coolchic
