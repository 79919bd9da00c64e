// coolchic._decoder: the C++ decoder for Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "decoder/decode.h"
#include "decoder/kernels.h"

namespace py = pybind11;

namespace coolchic {
namespace {

py::handle decode_error;

void require(const Status& status) {
  if (status.ok()) return;
  PyErr_SetString(decode_error.ptr(), status.message.c_str());
  throw py::error_already_set();
}

// A contiguous view of any bytes-like object, held for as long as it is used.
class Bytes {
 public:
  explicit Bytes(const py::buffer& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_;
};

// Names of the kernels that this machine can run, the fastest first.
std::vector<std::string> kernels() {
  std::vector<std::string> names;
  for (int i = 0; const KernelEntry* entry = kernel_entry(i); ++i)
    if (entry->supported()) names.emplace_back(entry->kernels->name);
  return names;
}

Options make_options(int threads, uint64_t max_pixels, const std::string& cpu = "auto") {
  if (threads < 0) throw py::value_error("threads must not be negative");
  if (!find_kernels(cpu.c_str())) {
    std::string known = "auto";
    for (const std::string& name : kernels()) known += ", " + name;
    throw py::value_error("no kernels '" + cpu + "' for this machine; there are " + known);
  }
  Options options;
  options.threads = threads;
  options.limits.max_pixels = max_pixels;
  options.cpu = cpu;
  return options;
}

py::array_t<uint8_t> to_array(Image&& image) {
  auto owner = std::make_unique<std::vector<uint8_t>>(std::move(image.samples));
  uint8_t* samples = owner->data();
  py::capsule base(owner.get(), [](void* p) { delete static_cast<std::vector<uint8_t>*>(p); });
  owner.release();
  return py::array_t<uint8_t>({image.height, image.width, image.channels}, samples, base);
}

Image run(const Bytes& bytes, const Options& options, StageTimes* times) {
  Image image;
  Status status;
  {
    py::gil_scoped_release release;
    status = decode(bytes.data(), bytes.size(), options, &image, times);
  }
  require(status);
  return image;
}

py::array_t<uint8_t> decode_bytes(const py::buffer& data, int threads, uint64_t max_pixels,
                                  bool check_crc, const std::string& cpu, int scale,
                                  bool allow_partial) {
  const Bytes bytes(data);
  Options options = make_options(threads, max_pixels, cpu);
  if (scale < 0) throw py::value_error("scale must not be negative");
  options.check_crc = check_crc;
  options.scale = scale;
  options.allow_partial = allow_partial;
  return to_array(run(bytes, options, nullptr));
}

py::dict profile(const py::buffer& data, int threads, uint64_t max_pixels, const std::string& cpu) {
  const Bytes bytes(data);
  StageTimes times;
  run(bytes, make_options(threads, max_pixels, cpu), &times);
  py::dict d;
  d["weights"] = times.weights;
  d["latents"] = times.latents;
  d["upsampling"] = times.synthesis.upsampling;
  d["synthesis"] = times.synthesis.synthesis;
  return d;
}

py::list layers(const std::vector<Layer>& from) {
  py::list list;
  for (const Layer& l : from)
    list.append(py::make_tuple(l.inputs, l.outputs, l.residual, l.relu ? "relu" : "none",
                               l.convolution ? "conv3x3" : "linear"));
  return list;
}

py::list positions(const std::vector<Position>& from) {
  py::list list;
  for (const Position& p : from) list.append(py::make_tuple(p.dr, p.dc));
  return list;
}

py::dict inspect(const py::buffer& data, uint64_t max_pixels) {
  const Bytes bytes(data);
  File file;
  Status status;
  {
    py::gil_scoped_release release;
    status = read_file(bytes.data(), bytes.size(), make_options(1, max_pixels), &file);
  }
  require(status);
  const Header& h = file.header;
  const Architecture& a = h.architecture;
  py::dict d;
  d["version"] = h.version;
  d["width"] = h.width;
  d["height"] = h.height;
  d["channels"] = h.channels;
  d["depth"] = h.depth;
  d["grids"] = a.grids;
  d["context"] = positions(a.context);
  d["parents"] = positions(a.parents);
  d["arm"] = layers(a.arm);
  d["upsampling"] = a.wavelet ? "wavelet" : a.filtered ? "filtered" : "bicubic";
  d["subband_weights"] = a.subband_weights;
  d["synthesis"] = layers(a.synthesis);
  const Precision& p = file.weights.precision;
  d["precision"] = py::make_tuple(p.arm, p.upsampled, p.synthesis);
  d["exponents"] = std::vector<int>(file.weights.exponent, file.weights.exponent + group_count(a));
  d["default_table"] = file.weights.default_table;
  d["lanes"] = file.latents_info.layout.lanes;
  d["bands"] = file.latents_info.layout.bands;
  d["header_bytes"] = file.header_bytes;
  d["weights_bytes"] = file.weights_bytes;
  d["weights_prefix_bytes"] = file.weights.prefix_bytes;
  d["arm_bytes"] = file.weights.arm_end;
  d["synthesis_bytes"] = file.weights.synthesis_end - file.weights.arm_end;
  d["convolutions_bytes"] = file.weights.convolutions_end - file.weights.synthesis_end;
  d["filters_bytes"] = file.weights.filters_end - file.weights.convolutions_end;
  d["subbands_bytes"] = file.weights.subbands_end - file.weights.filters_end;
  d["latents_bytes"] = file.latents_bytes;
  d["latents_overhead_bytes"] = file.latents_info.overhead_bytes;
  d["grid_bytes"] =
      std::vector<size_t>(file.latents_info.grid_bytes, file.latents_info.grid_bytes + a.grids);
  d["total_bytes"] = file.total_bytes;
  return d;
}

}  // namespace
}  // namespace coolchic

PYBIND11_MODULE(_decoder, m) {
  using namespace coolchic;
  m.doc() = "Decoder of coolchic files (docs/bitstream.md).";
  decode_error = PyErr_NewExceptionWithDoc(
      "coolchic.DecodeError",
      "A file that cannot be decoded. The message says what is wrong and where.", PyExc_ValueError,
      nullptr);
  m.attr("DecodeError") = decode_error;
  m.attr("DEFAULT_MAX_PIXELS") = Limits().max_pixels;
  const uint64_t max_pixels = Limits().max_pixels;
  m.def("decode_bytes", &decode_bytes, py::arg("data"), py::kw_only(), py::arg("threads") = 0,
        py::arg("max_pixels") = max_pixels, py::arg("check_crc") = true, py::arg("cpu") = "auto",
        py::arg("scale") = 0, py::arg("allow_partial") = false,
        R"(Decode a file.

Args:
    data: bytes-like, a whole .cool file.
    threads: of the synthesis; 0 is one per core. The result does not depend on it.
    max_pixels: larger pictures are refused before anything is allocated.
    check_crc: False goes on with a file whose checksum differs.
    cpu: name of the kernels to use, of those that kernels() lists, or "auto" for the
        fastest. The result does not depend on it.
    scale: k > 0 gives a preview of 1/2^k of the size, in little time, from latent grids
        of that size and coarser (docs/bitstream.md section 12.1). At most the coarsest grid's.
    allow_partial: take a file that ends within its latents, as long as one grid is whole;
        the others count as zero.

Returns:
    uint8 array of shape (height, width, channels).

Raises:
    DecodeError: the file is damaged, unsupported or too large.
    ValueError: an argument out of range.)");
  m.def("kernels", &kernels, "Names of the kernels that this machine can run, the fastest first.");
  m.def("profile", &profile, py::arg("data"), py::kw_only(), py::arg("threads") = 1,
        py::arg("max_pixels") = max_pixels, py::arg("cpu") = "auto",
        R"(Decode a file for its times.

Returns:
    Seconds by stage: weights, latents (entropy decoding and ARM), upsampling, synthesis;
    the last two are summed over threads.)");
  m.def("inspect", &inspect, py::arg("data"), py::kw_only(), py::arg("max_pixels") = max_pixels,
        "Header, architecture and bytes of every section, as a dict. Decodes the latents.");
}
