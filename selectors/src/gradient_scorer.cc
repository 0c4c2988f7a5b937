#include "alluvium/selectors/gradient_scorer.h"

namespace alluvium::selectors {

const char* to_string(Expert expert) {
  switch (expert) {
    case Expert::nll:
      return "nll";
    case Expert::el2n:
      return "el2n";
    case Expert::entropy:
      return "entropy";
    case Expert::grand:
      return "grand";
    case Expert::dg_ctx:
      return "dg_ctx";
    case Expert::dg_self:
      return "dg_self";
    case Expert::dg_mem:
      return "dg_mem";
  }
  return "unknown";
}

}  // namespace alluvium::selectors
