// coolchic._encoder: what writes files, on the decoder's own integer model.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "decoder/byte_reader.h"
#include "decoder/default_parameters.h"
#include "decoder/latents.h"
#include "decoder/synthesis.h"
#include "encoder/encode.h"
#include "encoder/latent_search.h"

namespace py = pybind11;

namespace coolchic {
namespace {

using Values = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Unrounded = py::array_t<float, py::array::c_style | py::array::forcecast>;

py::bytes to_bytes(const std::vector<uint8_t>& v) {
  return py::bytes(reinterpret_cast<const char*>(v.data()), v.size());
}

void require(const Status& status) {
  if (!status.ok()) throw py::value_error(status.message);
}

Header parse_header(const std::string& bytes, Status* status) {
  ByteReader in(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), status, "header");
  return read_header(in, Limits{uint64_t{1} << 32});
}

py::bytes py_encode_weights(const py::bytes& header, const std::array<int, 3>& precision,
                            const std::vector<int>& exponents, const Values& values) {
  Status status;
  const Header h = parse_header(header, &status);
  require(status);
  const std::vector<int32_t> v(values.data(), values.data() + values.size());
  if (v.size() != parameter_groups(h.architecture).size())
    throw py::value_error("wrong number of parameters");
  for (int32_t q : v)
    if (std::abs(q) > kMaxParameter) throw py::value_error("quantised parameter too large");
  for (int bits : precision)
    if (bits < 0 || bits > 15) throw py::value_error("precision out of range");
  if (static_cast<int>(exponents.size()) != group_count(h.architecture))
    throw py::value_error("wrong number of exponents");
  for (int e : exponents)
    if (e < 0 || e > 15) throw py::value_error("exponent out of range");
  return to_bytes(encode_weights(h, {precision[0], precision[1], precision[2]}, exponents, v));
}

py::array_t<int16_t> py_default_decoder(int architecture, int number) {
  const DefaultDecoder* decoder = find_default(architecture, number);
  if (!decoder) throw py::value_error("no such default decoder");
  return py::array_t<int16_t>(decoder->parameters, decoder->values);
}

py::tuple py_best_scale(const Values& values) {
  const ScaleChoice best =
      best_scale(std::vector<int32_t>(values.data(), values.data() + values.size()));
  return py::make_tuple(best.scale, best.bits);
}

Model make_model(const py::bytes& header, const py::bytes& weights_section) {
  Status status;
  Model model;
  model.header = parse_header(header, &status);
  require(status);
  const std::string section = weights_section;
  ByteReader in(reinterpret_cast<const uint8_t*>(section.data()), section.size(), &status,
                "weights section");
  model.weights = read_weights(in, model.header, &status);
  require(status);
  return model;
}

std::vector<Grid> to_grids(const Model& model, const std::vector<Values>& arrays) {
  const Header& h = model.header;
  if (static_cast<int>(arrays.size()) != h.architecture.grids)
    throw py::value_error("wrong number of latent grids");
  std::vector<Grid> grids;
  for (int k = 0; k < h.architecture.grids; ++k) {
    const Values& a = arrays[k];
    if (a.ndim() != 2 || a.shape(0) != h.grid_rows(k) || a.shape(1) != h.grid_columns(k))
      throw py::value_error("latent grid " + std::to_string(k) + " has a wrong shape");
    grids.emplace_back(h.grid_rows(k), h.grid_columns(k));
    for (int r = 0; r < h.grid_rows(k); ++r) {
      for (int c = 0; c < h.grid_columns(k); ++c) {
        const int32_t y = a.data()[static_cast<size_t>(r) * h.grid_columns(k) + c];
        if (y < kMinLatent || y > kMaxLatent) throw py::value_error("latent out of range");
        grids.back().row(r)[c] = static_cast<int16_t>(y);
      }
    }
  }
  return grids;
}

std::vector<double> py_latent_bits(const Model& model, const std::vector<Values>& latents) {
  const std::vector<Grid> grids = to_grids(model, latents);
  py::gil_scoped_release release;
  return latent_bits(model, grids);
}

py::bytes py_encode_latents(const Model& model, const std::vector<Values>& latents, int lanes,
                            int bands) {
  if (lanes != 1 && lanes != 2 && lanes != 4 && lanes != 8)
    throw py::value_error("lanes must be 1, 2, 4 or 8");
  if (bands < 1 || bands > model.header.height) throw py::value_error("bands out of range");
  if (bands > 1 && model.header.version < 2)
    throw py::value_error("bands need a header of version 2 or above");
  const std::vector<Grid> grids = to_grids(model, latents);
  std::vector<uint8_t> section;
  {
    py::gil_scoped_release release;
    section = encode_latents(model, grids, lanes, bands);
  }
  return to_bytes(section);
}

py::array_t<uint8_t> py_synthesise(const Model& model, const std::vector<Values>& latents,
                                   int threads) {
  const std::vector<Grid> grids = to_grids(model, latents);
  const Header& h = model.header;
  py::array_t<uint8_t> out({h.height, h.width, h.channels});
  uint8_t* samples = out.mutable_data();
  py::gil_scoped_release release;
  ThreadPool pool(threads);
  const size_t stride = static_cast<size_t>(h.width) * h.channels;
  synthesise(h, model.weights, grids, 0, *find_kernels("auto"), pool, samples, stride, nullptr);
  return out;
}

py::list py_search_latents(const Model& model, const std::vector<Values>& latents,
                           const std::optional<std::vector<Unrounded>>& unrounded,
                           const py::array_t<uint8_t, py::array::c_style>& image, double lmbda,
                           int grids, int rounds, int threads, bool pairs) {
  const Header& h = model.header;
  if (image.ndim() != 3 || image.shape(0) != h.height || image.shape(1) != h.width ||
      image.shape(2) != h.channels)
    throw py::value_error("the image has a wrong shape");
  std::vector<Grid> found = to_grids(model, latents);
  std::vector<std::vector<float>> values;
  for (size_t k = 0; unrounded && k < found.size(); ++k) {
    const Unrounded y = k < unrounded->size() ? (*unrounded)[k] : Unrounded();
    if (y.ndim() != 2 || y.shape(0) != found[k].rows() || y.shape(1) != found[k].columns())
      throw py::value_error("unrounded grid " + std::to_string(k) + " has a wrong shape");
    values.emplace_back(y.data(), y.data() + y.size());
  }
  // Squared errors count per sample, bits per pixel; samples are in 0 ... 1 there (paper eq. 1).
  const double bit_price = lmbda * h.channels * 255 * 255;
  {
    py::gil_scoped_release release;
    search_latents(model, image.data(), values, {grids, rounds, pairs, bit_price, threads}, &found);
  }
  py::list out;
  for (const Grid& grid : found) {
    Values a({grid.rows(), grid.columns()});
    for (int r = 0; r < grid.rows(); ++r)
      std::copy_n(grid.row(r), grid.columns(), a.mutable_data(r, 0));
    out.append(a);
  }
  return out;
}

}  // namespace
}  // namespace coolchic

PYBIND11_MODULE(_encoder, m) {
  using namespace coolchic;
  m.doc() = "Entropy coding and the integer model for the encoder (docs/bitstream.md).";
  m.def("default_decoder", &py_default_decoder, py::arg("architecture"), py::arg("number"),
        "Parameters of an architecture's default decoder, numbered from 1, in the file's order, "
        "int16 in units of 2^-12 (docs/bitstream.md section 6.1).");
  m.def("best_scale", &py_best_scale, py::arg("values"),
        "Scale index that codes quantised parameters in the fewest bits, and those bits.");
  m.def("encode_weights", &py_encode_weights, py::arg("header"), py::arg("precision"),
        py::arg("exponents"), py::arg("values"),
        R"(The weights section, without its length (docs/bitstream.md section 6).

Args:
    header: the file's first bytes (sections 3 to 5).
    precision: fractional bits (F_arm, F_up, F_syn).
    exponents: one per group: ARM weights and biases, synthesis weights and biases; weights of
        convolutions, if there are any; taps of filters, if there are any; subbands' own weights,
        if there are any.
    values: int32, quantised parameters in the file's order.

Raises:
    ValueError: a number out of range.)");
  py::class_<Model>(m, "Model",
                    "The decoder that a header and a weights section make; parsed by the "
                    "decoder's own code.")
      .def(py::init(&make_model), py::arg("header"), py::arg("weights_section"))
      .def("latent_bits", &py_latent_bits, py::arg("latents"),
           "Bits of each grid by the coder's tables; latents: int32 arrays, finest first.")
      .def("encode_latents", &py_encode_latents, py::arg("latents"), py::arg("lanes"),
           py::arg("bands") = 1,
           "The latents section, without its length (docs/bitstream.md section 7). bands: of "
           "the finest grid; more than one only from version 2 of the header on.")
      .def("synthesise", &py_synthesise, py::arg("latents"), py::arg("threads") = 1,
           "uint8 picture (height, width, channels) by the integer synthesis.")
      .def("search_latents", &py_search_latents, py::arg("latents"), py::arg("unrounded"),
           py::arg("image"), py::arg("lmbda"), py::arg("grids"), py::arg("rounds"),
           py::arg("threads") = 1, py::arg("pairs") = false,
           R"(Latents changed by one wherever that lowers D + lambda R (paper eq. 1).

Args:
    latents: int32 arrays, finest first.
    unrounded: float32 arrays of the same shapes: latents only change to the side where they were
        before they were rounded. None: to either side.
    image: uint8 (height, width, channels), what D is the distance to.
    lmbda: weight of the rate in bits per pixel.
    grids: how many to go through, from the finest on.
    rounds: through all of them.
    threads: the result does not depend on them.
    pairs: two neighbours in a grid change at once, too, each to its better side; not in
        subbands.

Returns:
    int32 arrays of the same shapes.

Raises:
    ValueError: an array has a wrong shape, or a latent is out of range.)");
}
