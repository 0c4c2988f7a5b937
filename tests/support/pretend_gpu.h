// A device that is not the CPU, for machines without a GPU: what the code does on one is tried on every machine.
//
// Purpose: its memory cannot be touched from outside an operator (an access ends the program), and an operator with operands on both
//          sides is refused as CUDA refuses it. Inside, operators compute on the CPU, so results are the CPU's own.
// Source : the dispatch key PrivateUse1, which PyTorch keeps for backends outside its tree.
// Threads: as torch's allocators and operators.
#pragma once

#include <c10/core/Device.h>

namespace alluvium::tests {

/// The device; made known to torch by the first call.
c10::Device pretend_gpu();

}  // namespace alluvium::tests
