// Where and in which dtype models compute: chosen once, explicit everywhere.
//
// Threads: plain data; choose_device() is thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace alluvium::backbone {

struct DeviceOptions {
  std::string device =
      "auto";  ///< auto | cpu | cuda; auto takes CUDA when a GPU and its libraries are there
  std::string dtype = "auto";  ///< auto | f32 | bf16; auto is bf16 on a GPU, or a CPU with
                               ///< AVX512-BF16 or AMX, else f32
  std::string decode =
      "auto";  ///< auto | blocks | dtype: weights of one-row steps; auto is blocks (the
               ///< checkpoint's own 4- and 8-bit blocks, multiplied in float32 without rounding) on
               ///< a CPU, for checkpoints that have them
  int64_t threads = 0;  ///< intra-operator threads; 0 = all cores
};

struct DevicePolicy {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  c10::ScalarType dtype = c10::ScalarType::Float;
  bool block_decode = false;  ///< one-row steps multiply the checkpoint's own blocks
  int64_t threads = 1;
  std::string reason;  ///< one line for doctor and the start-up log: what was chosen and why
};

/// Chooses by the machine and sets ATen's thread count. Throws InvalidArgument on an unknown word,
/// Unavailable when CUDA is asked for and cannot be had (says what is missing).
DevicePolicy choose_device(const DeviceOptions& options);

/// float32 on the CPU with the given threads: the reference mode of tests and oracles.
DevicePolicy reference_policy(int64_t threads = 2);

}  // namespace alluvium::backbone
