// Samples shared out over threads in a fixed way.
//
// Threads: run_by_bytes() blocks its caller until all workers are done.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <thread>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// Calls work(worker, begin, end) for consecutive ranges of about equal bytes, one a worker. What a worker throws first is thrown here.
template <class Work>
void run_by_bytes(std::span<const Sample> samples, int64_t threads, const Work& work) {
  std::size_t bytes = 0;
  for (const Sample& sample : samples) {
    bytes += sample.text.size() + 1;
  }
  const auto workers = static_cast<std::size_t>(threads);
  std::vector<std::size_t> ends;
  std::size_t passed = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    passed += samples[i].text.size() + 1;
    while (ends.size() + 1 < workers && passed * workers >= bytes * (ends.size() + 1)) {
      ends.push_back(i + 1);
    }
  }
  ends.resize(workers, samples.size());

  std::vector<std::exception_ptr> failures(workers);
  const auto run = [&](std::size_t worker) {
    try {
      const std::size_t begin = worker == 0 ? 0 : ends[worker - 1];
      if (begin < ends[worker]) {
        work(worker, begin, ends[worker]);
      }
    } catch (...) {
      failures[worker] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t worker = 1; worker < workers; ++worker) {
      others.emplace_back(run, worker);
    }
    run(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  }
}

}  // namespace alluvium::selectors
