// How the latents section is divided into substreams: docs/bitstream.md section 7.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder/byte_reader.h"
#include "decoder/header.h"

namespace coolchic {

// Rows of a grid that are decoded in one wavefront.
struct Band {
  int grid;
  int first_row;
  int rows;
};

struct Substream {
  std::vector<Band> bands;  // several only if each is a whole grid
  bool continues = false;   // the band above is that of the substream before
  const uint8_t* data = nullptr;
  size_t words = 0;
};

// Of the layout byte, whose low bits are log2 of the number of lanes.
constexpr int kBandsFlag = 4;

struct LatentsLayout {
  int lanes = 1;
  int bands = 1;  // of a grid of the picture's size
  bool coded[kMaxGrids] = {};
};

// Of a grid's rows. bands: of the picture's.
inline int bands_of_grid(int bands, const Architecture& a, int grid) {
  const int own = bands >> (2 * a.level(grid));
  return own > 1 ? own : 1;
}

// The substreams of a section in their order, without data.
std::vector<Substream> make_substreams(const Header& header, const LatentsLayout& layout);

// Latents of a substream.
uint64_t symbol_count(const Header& header, const Substream& substream);

// Reads all of `in`, the section without its length, and cuts it up. cut_short: the section
// lacks bytes at its end; substreams then have what there is of them.
std::vector<Substream> read_layout(ByteReader& in, const Header& header, bool cut_short,
                                   LatentsLayout* layout);

}  // namespace coolchic
