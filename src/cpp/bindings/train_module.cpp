// coolchic._train: the trainer for Python. Buffers are addresses of contiguous float32
// memory; coolchic.native keeps their owners alive and checks them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <string>

#include "trainer.h"

namespace py = pybind11;
using namespace coolchic::train;

namespace {

using Address = uintptr_t;
using Addresses = std::vector<Address>;
using AdamTuple = std::tuple<double, double, double, double>;

std::vector<float*> pointers(const Addresses& addresses) {
  std::vector<float*> result;
  for (const Address a : addresses) result.push_back(reinterpret_cast<float*>(a));
  return result;
}

Proxy proxy_of(const std::string& name) {
  if (name == "given") return Proxy::kGiven;
  if (name == "noise") return Proxy::kNoise;
  if (name == "soft_round") return Proxy::kSoftRound;
  if (name == "hard") return Proxy::kHard;
  throw py::value_error("the native kernels do not know the proxy \"" + name + "\"");
}

const Kernels& kernels_of(const std::string& cpu) {
  const Kernels* kernels = find_kernels(cpu.c_str());
  if (!kernels) throw py::value_error("this machine or build has no kernels \"" + cpu + "\"");
  return *kernels;
}

std::vector<LayerShape> layers_of(const std::vector<std::tuple<int, int, bool, bool>>& layers) {
  std::vector<LayerShape> shapes;
  for (const auto& [outputs, inputs, residual, relu] : layers) {
    shapes.push_back({outputs, inputs, residual, relu});
  }
  return shapes;
}

std::vector<Position> positions_of(const std::vector<std::pair<int, int>>& positions) {
  std::vector<Position> result;
  for (const auto& [above, right] : positions) result.push_back({above, right});
  return result;
}

AdamSettings adam_of(const AdamTuple& settings) {
  const auto& [learning_rate, beta1, beta2, epsilon] = settings;
  return {learning_rate, beta1, beta2, epsilon};
}

// The trainer behind a lock, so that a mistaken call from two Python threads waits.
class LockedTrainer {
 public:
  LockedTrainer(int height, int width, int channels, int grids,
                const std::vector<std::pair<int, int>>& context,
                const std::vector<std::pair<int, int>>& parents,
                const std::vector<std::tuple<int, int, bool, bool>>& arm,
                const std::vector<std::tuple<int, int, bool, bool>>& synthesis,
                const std::vector<std::pair<bool, bool>>& refinement, bool filtered, bool wavelet,
                bool subband_weights, const std::tuple<float, float, float, float>& laplace,
                Address target, float white, double distortion_weight, double rate_weight,
                int threads, const std::string& cpu) {
    ModelShape shape{};
    shape.height = height;
    shape.width = width;
    shape.channels = channels;
    shape.grids = grids;
    shape.context = positions_of(context);
    shape.parents = positions_of(parents);
    shape.arm = layers_of(arm);
    shape.synthesis = layers_of(synthesis);
    for (const auto& [residual, relu] : refinement) shape.refinement.push_back({residual, relu});
    shape.filtered = filtered;
    shape.wavelet = wavelet;
    shape.subband_weights = subband_weights;
    const auto& [offset, low, high, min_probability] = laplace;
    shape.laplace = {offset, low, high, min_probability};
    trainer_ = std::make_unique<Trainer>(shape, reinterpret_cast<const float*>(target),
                                         Loss{distortion_weight, rate_weight, white}, threads,
                                         kernels_of(cpu));
  }

  std::pair<double, double> step(const Addresses& latents, const Addresses& networks,
                                 const Addresses& gradients, const std::string& proxy,
                                 float temperature, float sigma, uint64_t seed, uint64_t iteration,
                                 int network_rows, const AdamTuple& latent_adam,
                                 double latent_share, const AdamTuple& network_adam) {
    const ProxySettings settings{proxy_of(proxy), temperature, sigma, seed, iteration};
    return locked([&] {
      return trainer_->step(parameters(latents, networks), settings, network_rows,
                            {adam_of(latent_adam), latent_share}, adam_of(network_adam),
                            pointers(gradients));
    });
  }

  std::pair<double, double> evaluate(const Addresses& latents, const Addresses& networks) {
    return locked([&] { return trainer_->evaluate(parameters(latents, networks)); });
  }

  std::pair<double, double> gradients(const Addresses& latents, const Addresses& networks,
                                      const Addresses& latent_gradients,
                                      const Addresses& network_gradients, const std::string& proxy,
                                      float temperature, float sigma, uint64_t seed,
                                      uint64_t iteration, int network_rows) {
    const ProxySettings settings{proxy_of(proxy), temperature, sigma, seed, iteration};
    return locked([&] {
      return trainer_->gradients(parameters(latents, networks), settings, network_rows,
                                 pointers(latent_gradients), pointers(network_gradients));
    });
  }

  void proxy(const Addresses& latents, const Addresses& networks, const Addresses& values,
             const Addresses& slopes, const std::string& proxy, float temperature, float sigma,
             uint64_t seed, uint64_t iteration) {
    const ProxySettings settings{proxy_of(proxy), temperature, sigma, seed, iteration};
    locked([&] {
      trainer_->proxy(parameters(latents, networks), settings, pointers(values), pointers(slopes));
      return Losses{};
    });
  }

  void set_rate_weight(double rate_weight) {
    locked([&] {
      trainer_->set_rate_weight(rate_weight);
      return Losses{};
    });
  }

  std::vector<double> latent_products() const { return trainer_->latent_products(); }

  py::dict part_seconds() const {
    const PartSeconds s = trainer_->part_seconds();
    py::dict parts;
    parts["proxy"] = s.proxy;
    parts["synthesis"] = s.synthesis;
    parts["arm"] = s.arm;
    parts["update"] = s.update;
    return parts;
  }

  int threads() const { return trainer_->threads(); }
  std::string cpu() const { return trainer_->kernels(); }

 private:
  static Parameters parameters(const Addresses& latents, const Addresses& networks) {
    return {pointers(latents), pointers(networks)};
  }

  template <class Function>
  std::pair<double, double> locked(Function function) {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    const Losses losses = function();
    return {losses.squared_error, losses.bits};
  }

  std::mutex mutex_;
  std::unique_ptr<Trainer> trainer_;
};

py::list cpus() {
  py::list names;
  for (int i = 0; const Kernels* kernels = kernels_at(i); ++i) {
    names.append(py::make_tuple(kernels->name, find_kernels(kernels->name) != nullptr));
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_train, m) {
  m.doc() = "Fused training kernels; used through coolchic.native.";
  m.def("cpus", &cpus);
  py::class_<LockedTrainer>(m, "Trainer")
      .def(py::init<int, int, int, int, const std::vector<std::pair<int, int>>&,
                    const std::vector<std::pair<int, int>>&,
                    const std::vector<std::tuple<int, int, bool, bool>>&,
                    const std::vector<std::tuple<int, int, bool, bool>>&,
                    const std::vector<std::pair<bool, bool>>&, bool, bool, bool,
                    const std::tuple<float, float, float, float>&, Address, float, double, double,
                    int, const std::string&>(),
           py::kw_only(), py::arg("height"), py::arg("width"), py::arg("channels"),
           py::arg("grids"), py::arg("context"), py::arg("parents"), py::arg("arm"),
           py::arg("synthesis"), py::arg("refinement"), py::arg("filtered"), py::arg("wavelet"),
           py::arg("subband_weights"), py::arg("laplace"), py::arg("target"), py::arg("white"),
           py::arg("distortion_weight"), py::arg("rate_weight"), py::arg("threads"), py::arg("cpu"))
      .def("step", &LockedTrainer::step, py::arg("latents"), py::arg("networks"),
           py::arg("gradients"), py::arg("proxy"), py::arg("temperature"), py::arg("sigma"),
           py::arg("seed"), py::arg("iteration"), py::arg("network_rows"), py::arg("latent_adam"),
           py::arg("latent_share"), py::arg("network_adam"))
      .def("set_rate_weight", &LockedTrainer::set_rate_weight, py::arg("rate_weight"))
      .def("evaluate", &LockedTrainer::evaluate, py::arg("latents"), py::arg("networks"))
      .def("gradients", &LockedTrainer::gradients, py::arg("latents"), py::arg("networks"),
           py::arg("latent_gradients"), py::arg("network_gradients"), py::arg("proxy"),
           py::arg("temperature"), py::arg("sigma"), py::arg("seed"), py::arg("iteration"),
           py::arg("network_rows"))
      .def("proxy", &LockedTrainer::proxy, py::arg("latents"), py::arg("networks"),
           py::arg("values"), py::arg("slopes"), py::arg("proxy"), py::arg("temperature"),
           py::arg("sigma"), py::arg("seed"), py::arg("iteration"))
      .def("latent_products", &LockedTrainer::latent_products)
      .def("part_seconds", &LockedTrainer::part_seconds)
      .def_property_readonly("threads", &LockedTrainer::threads)
      .def_property_readonly("cpu", &LockedTrainer::cpu);
}
