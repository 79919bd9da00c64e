#include "decoder/latents_layout.h"

#include <algorithm>
#include <string>
#include <utility>

#include "decoder/kernels.h"

namespace coolchic {
namespace {

constexpr int kLanesMask = 3;

void read_coded_grids(ByteReader& in, int grids, LatentsLayout* layout) {
  for (int k = 0; k < round_up(grids, 8); k += 8) {
    const int byte = in.u8();
    for (int bit = 0; bit < 8; ++bit) {
      const bool coded = byte >> bit & 1;
      if (k + bit < grids)
        layout->coded[k + bit] = coded;
      else if (coded)
        in.fail(Code::kInvalid, "reserved grid flag set");
    }
  }
}

}  // namespace

std::vector<Substream> make_substreams(const Header& header, const LatentsLayout& layout) {
  std::vector<Substream> substreams;
  Substream whole;
  for (int k = header.architecture.grids; k-- > 0;)
    if (layout.coded[k] && bands_of_grid(layout.bands, header.architecture, k) == 1)
      whole.bands.push_back({k, 0, header.grid_rows(k)});
  if (!whole.bands.empty()) substreams.push_back(std::move(whole));
  for (int k = header.architecture.grids; k-- > 0;) {
    const int bands = bands_of_grid(layout.bands, header.architecture, k);
    if (!layout.coded[k] || bands == 1) continue;
    const auto start = [&](int b) {
      return static_cast<int>(int64_t{header.grid_rows(k)} * b / bands);
    };
    for (int b = 0; b < bands; ++b) {
      Substream s;
      s.bands.push_back({k, start(b), start(b + 1) - start(b)});
      s.continues = b > 0;
      substreams.push_back(std::move(s));
    }
  }
  return substreams;
}

uint64_t symbol_count(const Header& header, const Substream& substream) {
  uint64_t count = 0;
  for (const Band& b : substream.bands)
    count += static_cast<uint64_t>(b.rows) * header.grid_columns(b.grid);
  return count;
}

std::vector<Substream> read_layout(ByteReader& in, const Header& header, bool cut_short,
                                   LatentsLayout* layout) {
  const int byte = in.u8();
  const int known = header.version >= 2 ? kLanesMask | kBandsFlag : kLanesMask;
  if (byte & ~known) in.fail(Code::kUnsupported, "unsupported latent layout");
  layout->lanes = 1 << (byte & kLanesMask);
  read_coded_grids(in, header.architecture.grids, layout);
  const bool any =
      std::any_of(layout->coded, layout->coded + kMaxGrids, [](bool coded) { return coded; });
  if (!any) {
    if (in.left() > 0) in.fail(Code::kInvalid, "substream without grids");
    return {};
  }
  if (byte & kBandsFlag) {
    const uint32_t bands = in.varint();
    if (in.ok() && (bands < 2 || bands > static_cast<uint32_t>(header.height)))
      in.fail(Code::kInvalid, std::to_string(bands) + " bands");
    if (in.ok()) layout->bands = static_cast<int>(bands);
  }
  // There are bands of other grids, and one substream more at most: a byte of length each.
  size_t lengths = 0;
  for (int k = 0; k < header.architecture.grids; ++k)
    if (layout->coded[k] && bands_of_grid(layout->bands, header.architecture, k) > 1)
      lengths += bands_of_grid(layout->bands, header.architecture, k);
  if (lengths > in.left() + 1) in.fail(Code::kTruncated, "truncated file");
  if (!in.ok()) return {};

  std::vector<Substream> substreams = make_substreams(header, *layout);
  const size_t last = substreams.size() - 1;
  for (size_t i = 0; i < last && in.ok(); ++i) substreams[i].words = in.varint();
  if (!cut_short && in.left() % 2) in.fail(Code::kInvalid, "odd substream size");
  for (size_t i = 0; i < substreams.size() && in.ok(); ++i) {
    Substream& s = substreams[i];
    if (i == last)
      s.words = in.left() / 2;
    else if (s.words > in.left() / 2 && cut_short)
      s.words = in.left() / 2;
    s.data = in.data();
    in.sub(2 * s.words, "latents section");
  }
  return substreams;
}

}  // namespace coolchic
