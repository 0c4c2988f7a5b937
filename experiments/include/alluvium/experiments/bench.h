// The verbs of `alluvium bench`.
//
// Threads: each runs on its caller's thread and returns the program's exit code: 0 done, 1 failed,
// 2 usage.
#pragma once

#include <string>
#include <vector>

namespace alluvium::experiments {

/// Dispatches `arguments` (without the program's name and "bench") to the bench named first; prints
/// the list without one.
int run_bench(const std::vector<std::string>& arguments);

/// Answer quality, retrieval recall and cost on questions with known answers.
int run_qa_bench(const std::vector<std::string>& arguments);

/// Answer quality against bytes of every way to keep a document's keys and values.
int run_frontier_bench(const std::vector<std::string>& arguments);

/// The bench "long": time and memory that documents of growing length take, and their answers.
int run_long_document_bench(const std::vector<std::string>& arguments);

/// Kills a service under load again and again, and checks that nothing acknowledged is lost or
/// doubled.
int run_crash_bench(const std::vector<std::string>& arguments);

/// A service with very many memories, through a restart: what it holds in RAM, and whether it answers
/// alike.
int run_soak_bench(const std::vector<std::string>& arguments);

/// Reading and decoding speed beside this machine's limits and other engines.
int run_backbone_bench(const std::vector<std::string>& arguments);

/// Whether selectors pick from the target's own domain, and at what cost.
int run_selection_bench(const std::vector<std::string>& arguments);

/// What an adapter learns from each selector's picks, for one target and over a sequence of tasks.
int run_selection_training_bench(const std::vector<std::string>& arguments);

}  // namespace alluvium::experiments
