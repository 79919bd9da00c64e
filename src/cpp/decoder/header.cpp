#include "decoder/header.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>
#include <utility>

namespace coolchic {
namespace {

constexpr uint8_t kMagic[4] = {0xc0, 0x01, 0xc4, 0x1c};
constexpr int kVersion = 5;          // the highest known
constexpr int kSubbandsVersion = 5;  // the first with subbands' own weights
constexpr int kWaveletVersion = 4;   // the first with wavelets
constexpr int kModulesVersion = 3;   // the first with parents, filters and convolutions
constexpr uint32_t kMaxSide = 65536;
constexpr uint64_t kMaxMacs = 65536;
constexpr uint32_t kMaxExtensions = 64;
constexpr uint64_t kMaxExtensionBytes = uint64_t{1} << 24;

constexpr int kDescribed = 255;  // number of an architecture that the header spells out
enum Flags { kChannelsMask = 3, kDepthGiven = 4, kExtensions = 8 };

// Section 4.1.
Architecture paper_architecture(int channels) {
  Architecture a;
  a.grids = 7;
  for (int dr = 2; dr >= 1; --dr)
    for (int dc = -2; dc <= 2; ++dc) a.context.push_back({dr, dc});
  a.context.push_back({0, -2});
  a.context.push_back({0, -1});
  a.arm = {{12, 12, true, true}, {12, 12, true, true}, {12, 2, false, false}};
  a.synthesis = {{7, 12, false, true}, {12, 12, true, true}, {12, channels, false, false}};
  return a;
}

Architecture first_standard_architecture(int channels) {
  Architecture a;
  a.grids = 7;
  a.context = {{2, 0}, {1, -2}, {1, -1}, {1, 0}, {1, 1}, {1, 2}, {0, -2}, {0, -1}};
  a.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  a.arm = {{12, 12, true, true}, {12, 12, true, true}, {12, 2, false, false}};
  a.filtered = true;
  a.synthesis = {
      {7, 14, false, true}, {14, channels, false, false}, {channels, channels, true, false, true}};
  return a;
}

Architecture first_high_architecture(int channels) {
  Architecture a;
  a.grids = 7;
  a.context = {{3, 0}};
  for (int dc = -2; dc <= 2; ++dc) a.context.push_back({2, dc});
  for (int dc = -3; dc <= 3; ++dc) a.context.push_back({1, dc});
  for (int dc = -3; dc <= -1; ++dc) a.context.push_back({0, dc});
  a.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  a.arm = {{20, 16, true, true}, {16, 16, true, true}, {16, 2, false, false}};
  a.filtered = true;
  a.synthesis = {{7, 16, false, true},
                 {16, 16, true, true},
                 {16, channels, false, false},
                 {channels, channels, true, true, true},
                 {channels, channels, true, false, true}};
  return a;
}

Architecture first_lite_architecture(int channels) {
  Architecture a;
  a.grids = 7;
  a.context = {{2, 0}, {1, -1}, {1, 0}, {1, 1}, {0, -2}, {0, -1}};
  a.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  a.arm = {{10, 8, true, true}, {8, 8, true, true}, {8, 2, false, false}};
  a.filtered = true;
  a.synthesis = {{7, 8, false, true}, {8, channels, false, false}};
  return a;
}

Architecture lite_pyramid_architecture(int channels) {
  Architecture a;
  a.grids = 7;
  a.context = {{1, -1}, {1, 0}, {1, 1}, {0, -2}, {0, -1}};
  a.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  a.arm = {{9, 7, true, true}, {7, 7, true, true}, {7, 2, false, false}};
  a.filtered = true;
  a.synthesis = {{7, 14, false, true}, {14, channels, false, false}};
  return a;
}

Architecture standard_pyramid_architecture(int channels) {
  Architecture a = first_standard_architecture(channels);
  a.arm = {{12, 10, true, true}, {10, 10, true, true}, {10, 2, false, false}};
  a.synthesis = {
      {7, 22, false, true}, {22, channels, false, false}, {channels, channels, true, false, true}};
  return a;
}

Architecture high_pyramid_architecture(int channels) {
  Architecture a = first_high_architecture(channels);
  a.synthesis = {{7, 48, false, true},
                 {48, channels, false, false},
                 {channels, channels, true, true, true},
                 {channels, channels, true, false, true}};
  return a;
}

// The ARM has two residual layers of one width, the synthesis one hidden layer.
Architecture with_wavelet(std::vector<Position> context, int arm_width, int synthesis_width,
                          int channels) {
  Architecture a;
  a.grids = 9;
  a.context = std::move(context);
  a.parents = {{0, 0}, {0, 1}, {-1, 0}, {-1, 1}};
  a.filtered = a.wavelet = true;
  const int inputs =
      static_cast<int>(a.context.size() + a.parents.size()) + a.siblings() + a.indicators();
  a.arm = {{inputs, arm_width, true, true},
           {arm_width, arm_width, true, true},
           {arm_width, 2, false, false}};
  a.synthesis = {{a.grids, synthesis_width, false, true},
                 {synthesis_width, channels, false, false}};
  return a;
}

Architecture plain_standard_architecture(int channels) {
  Architecture a = with_wavelet(
      {{2, -1}, {2, 0}, {2, 1}, {1, -2}, {1, -1}, {1, 0}, {1, 1}, {1, 2}, {0, -2}, {0, -1}}, 8, 26,
      channels);
  a.synthesis.push_back({channels, channels, true, false, true});
  return a;
}

Architecture plain_high_architecture(int channels) {
  std::vector<Position> context;
  for (int dr = 3; dr >= 0; --dr)
    for (int dc = -3; dc <= (dr > 0 ? 3 : -1); ++dc) context.push_back({dr, dc});
  Architecture a = with_wavelet(std::move(context), 16, 64, channels);
  a.synthesis.push_back({channels, channels, true, true, true});
  a.synthesis.push_back({channels, channels, true, false, true});
  return a;
}

Architecture plain_lite_architecture(int channels) {
  return with_wavelet(lite_pyramid_architecture(channels).context, 7, 12, channels);
}

template <Architecture (*plain)(int channels)>
Architecture with_subband_weights(int channels) {
  Architecture a = plain(channels);
  a.subband_weights = true;
  return a;
}

// By their numbers in the header.
struct NamedArchitecture {
  Architecture (*make)(int channels);
  int version;  // the first to have it
};
constexpr NamedArchitecture kNamed[] = {
    {paper_architecture, 1},
    {first_standard_architecture, kModulesVersion},
    {first_high_architecture, kModulesVersion},
    {first_lite_architecture, kModulesVersion},
    {lite_pyramid_architecture, kModulesVersion},
    {standard_pyramid_architecture, kModulesVersion},
    {high_pyramid_architecture, kModulesVersion},
    {plain_standard_architecture, kWaveletVersion},
    {plain_high_architecture, kWaveletVersion},
    {plain_lite_architecture, kWaveletVersion},
    {with_subband_weights<plain_standard_architecture>, kSubbandsVersion},
    {with_subband_weights<plain_high_architecture>, kSubbandsVersion},
    {with_subband_weights<plain_lite_architecture>, kSubbandsVersion},
};

std::vector<Layer> read_layers(ByteReader& in, int inputs, int version, const char* module) {
  const std::string name = module;
  const int count = in.u8();
  std::vector<Layer> layers;
  if (in.ok() && (count < 1 || count > kMaxLayers))
    in.fail(Code::kInvalid, name + " has " + std::to_string(count) + " layers");
  for (int i = 0; i < count && in.ok(); ++i) {
    const int type = in.u8();
    const int width = in.u8();
    if (!in.ok()) break;
    const int kind = type & 15, activation = type >> 5 & 3;
    if (kind > (version >= kModulesVersion ? 1 : 0))
      in.fail(Code::kUnsupported, "unsupported layer kind " + std::to_string(kind));
    if (activation > 1)
      in.fail(Code::kUnsupported, "unsupported activation " + std::to_string(activation));
    if (type >> 7) in.fail(Code::kInvalid, "reserved layer bit set");
    if (width < 1 || width > kMaxWidth)
      in.fail(Code::kInvalid, "layer width " + std::to_string(width));
    const bool residual = type >> 4 & 1;
    if (residual && version < kModulesVersion && width != inputs)
      in.fail(Code::kInvalid, "residual layer changes its width");
    if (residual && width > inputs)
      in.fail(Code::kInvalid, "residual layer has more outputs than inputs");
    layers.push_back({inputs, width, residual, activation == 1, kind == 1});
    inputs = width;
  }
  return layers;
}

std::vector<Position> read_parents(ByteReader& in, int contexts) {
  const int count = in.u8();
  if (in.ok() && (count > kMaxParents || contexts + count > kMaxContext))
    in.fail(Code::kInvalid, std::to_string(count) + " parent positions");
  std::vector<Position> parents;
  for (int i = 0; i < count && in.ok(); ++i) {
    const int byte = in.u8();
    const Position p{(byte >> 4) - 8, (byte & 15) - 8};
    if (in.ok() && (std::abs(p.dr) > kMaxParentReach || std::abs(p.dc) > kMaxParentReach))
      in.fail(Code::kInvalid, "parent position that is too far away");
    parents.push_back(p);
  }
  return parents;
}

// Convolutions stand at the end of the synthesis, behind a layer that has their width.
void check_convolutions(const std::vector<Layer>& synthesis, ByteReader& in) {
  size_t first = synthesis.size();
  while (first > 0 && synthesis[first - 1].convolution) --first;
  const bool elsewhere = std::any_of(synthesis.begin(), synthesis.begin() + first,
                                     [](const Layer& l) { return l.convolution; });
  if (first == 0 || elsewhere)
    in.fail(Code::kInvalid, "convolution that is not at the end of the synthesis");
  if (synthesis.size() - first > kMaxConvolutions)
    in.fail(Code::kInvalid, std::to_string(synthesis.size() - first) + " convolutions");
  for (size_t l = first; l < synthesis.size(); ++l)
    if (synthesis[l].inputs != synthesis.back().outputs ||
        synthesis[l].outputs != synthesis.back().outputs)
      in.fail(Code::kInvalid, "convolution of another width than one per channel");
}

// Section 4.2.
Architecture read_architecture(ByteReader& in, int channels, int version) {
  Architecture a;
  a.grids = in.u8();
  if (in.ok() && (a.grids < 1 || a.grids > kMaxGrids))
    in.fail(Code::kInvalid, std::to_string(a.grids) + " latent grids");
  const int contexts = in.u8();
  if (in.ok() && (contexts < 1 || contexts > kMaxContext))
    in.fail(Code::kInvalid, std::to_string(contexts) + " context positions");
  for (int i = 0; i < contexts && in.ok(); ++i) {
    const int byte = in.u8();
    const Position p{byte >> 4, (byte & 15) - 8};
    if (in.ok() && (p.dr > kMaxRowsAbove || (p.dr == 0 && p.dc >= 0)))
      in.fail(Code::kInvalid, "context position that is not causal or too far away");
    a.context.push_back(p);
  }
  if (version >= kModulesVersion) a.parents = read_parents(in, contexts);
  const int arm_inputs = contexts + static_cast<int>(a.parents.size());
  a.arm = read_layers(in, arm_inputs, version, "ARM");
  const int upsampling = in.u8();
  const int known = version >= kSubbandsVersion  ? 3
                    : version >= kWaveletVersion ? 2
                    : version >= kModulesVersion ? 1
                                                 : 0;
  if (in.ok() && upsampling > known)
    in.fail(Code::kUnsupported, "unsupported upsampling " + std::to_string(upsampling));
  a.filtered = upsampling >= 1;
  a.wavelet = upsampling >= 2;
  a.subband_weights = upsampling == 3;
  if (in.ok() && a.wavelet) {
    if (a.grids <= kSubbands)
      in.fail(Code::kInvalid, "wavelet of " + std::to_string(a.grids) + " latent grids");
    if (arm_inputs + a.siblings() > kMaxContext)
      in.fail(Code::kInvalid, std::to_string(arm_inputs + a.siblings()) + " inputs of the ARM");
    a.arm[0].inputs += a.siblings() + a.indicators();
  }
  a.synthesis = read_layers(in, a.grids, version, "synthesis");
  if (!in.ok()) return a;
  if (a.arm.back().outputs != 2 || a.arm.back().relu || a.arm.back().residual)
    in.fail(Code::kInvalid, "last ARM layer is not a plain layer of width 2");
  if (a.synthesis.back().outputs != channels || a.synthesis.back().relu)
    in.fail(Code::kInvalid, "last synthesis layer is not a plain layer of a width per channel");
  if (std::any_of(a.arm.begin(), a.arm.end(), [](const Layer& l) { return l.convolution; }))
    in.fail(Code::kInvalid, "convolution in the ARM");
  check_convolutions(a.synthesis, in);
  return a;
}

void skip_extensions(ByteReader& in) {
  const uint32_t count = in.varint();
  if (count > kMaxExtensions) in.fail(Code::kInvalid, "too many extensions");
  uint64_t total = 0;
  int64_t previous = -1;
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const uint32_t type = in.varint();
    const uint32_t length = in.varint();
    if (!in.ok()) return;
    if (type <= previous) in.fail(Code::kInvalid, "extension types do not ascend");
    if (type & 1) in.fail(Code::kUnsupported, "unsupported extension " + std::to_string(type));
    total += length;
    if (total > kMaxExtensionBytes) in.fail(Code::kInvalid, "extensions too large");
    in.sub(length, "extension");
    previous = type;
  }
}

}  // namespace

Header read_header(ByteReader& in, const Limits& limits) {
  Header h;
  if (in.left() < sizeof kMagic) in.fail(Code::kNotCoolchic, "not a coolchic file");
  for (uint8_t magic : kMagic)
    if (in.u8() != magic) in.fail(Code::kNotCoolchic, "not a coolchic file");
  h.version = in.u8();
  if (in.ok() && (h.version < 1 || h.version > kVersion))
    in.fail(Code::kUnsupported, "unsupported format version " + std::to_string(h.version));
  const int flags = in.u8();
  if (flags & ~(kChannelsMask | kDepthGiven | kExtensions))
    in.fail(Code::kInvalid, "reserved flags set");
  h.channels = (flags & kChannelsMask) + 1;
  const uint32_t width_1 = in.varint();
  const uint32_t height_1 = in.varint();
  if (width_1 >= kMaxSide || height_1 >= kMaxSide)
    in.fail(Code::kInvalid, "picture larger than 65536 on a side");
  if (in.ok()) {
    h.width = static_cast<int>(width_1) + 1;
    h.height = static_cast<int>(height_1) + 1;
    if (h.pixels() > limits.max_pixels)
      in.fail(Code::kTooLarge, "picture of " + std::to_string(h.width) + "x" +
                                   std::to_string(h.height) + " exceeds the limit of " +
                                   std::to_string(limits.max_pixels) + " pixels");
  }
  if (flags & kDepthGiven) {
    h.depth = in.u8();
    if (in.ok() && (h.depth < 9 || h.depth > 16))
      in.fail(Code::kInvalid, "bit depth " + std::to_string(h.depth));
    in.fail(Code::kUnsupported, "unsupported bit depth " + std::to_string(h.depth));
  }
  const int id = h.architecture_id = in.u8();
  if (id < static_cast<int>(std::size(kNamed)) && h.version >= kNamed[id].version) {
    h.architecture = kNamed[id].make(h.channels);
  } else if (id == kDescribed) {
    h.architecture = read_architecture(in, h.channels, h.version);
  } else {
    in.fail(Code::kUnsupported, "unsupported architecture " + std::to_string(id));
  }
  if (in.ok()) {
    const Architecture& a = h.architecture;
    const uint64_t arm = weight_count(a.arm), synthesis = weight_count(a.synthesis);
    if (arm * a.grids + synthesis > kMaxMacs)
      in.fail(Code::kInvalid, "too many multiplications per pixel");
  }
  if (flags & kExtensions) skip_extensions(in);
  return h;
}

}  // namespace coolchic
