// ZIP-FIT: a text is worth learning from when it compresses well together with the targets.
//
// Source : Obbad, Mlauzi, Miranda, Schaeffer, Obbad, Bedi, Koyejo, "ZIP-FIT: Embedding-Free Data Selection via Compression-Based
//          Alignment", 2024. NCD: Li, Chen, Li, Ma, Vitanyi, "The Similarity Metric", 2004.
//          ref  : mean over the targets y of 1 - NCD(x, y), NCD = (C(xy) - min(C(x), C(y))) / max(C(x), C(y)); with gzip level 6 these
//                 are the numbers of the authors' package.
// Differs: cond : C(xy) is taken as C(y) + D(x | y), y being the dictionary of raw deflate.
//          pool : 1 - D(x | all targets) / D(x): which share of x the targets explain; by deflate or LZ4.
//          two_stage : lz4 for everything, gzip ref for the survivors.
//          Sums run over the targets in their order, so that every run gives the same bits; ties go to the earlier arrival.
// Cost   : ref, one compression a target; pool, two a text whatever the number of targets.
#pragma once

#include <memory>
#include <string>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// Throws InvalidArgument naming the option: an unknown mode or compressor, a level outside its compressor's range.
std::unique_ptr<Selector> make_zip_fit(const SelectorOptions& options);

/// What its scores are labelled with, e.g. "zip_fit/ref gzip-6"; `is_reference` is whether the zlib behind gzip is.
std::string zip_fit_label(const SelectorOptions& options, bool is_reference);

}  // namespace alluvium::selectors
