// The service as a bench sees it: publish documents, ask questions.
//
// Threads: owned by one thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/service/engine.h"

namespace alluvium::experiments {

class QaService {
 public:
  virtual ~QaService() = default;

  /// Returns when every document can be answered from. `applied` is told how many more are.
  virtual void publish(const std::vector<Document>& documents,
                       const std::function<void(int64_t)>& applied) = 0;

  virtual service::Answer ask(const service::Question& question) = 0;
};

/// By function call. `engine` must outlive it.
std::unique_ptr<QaService> make_direct_service(service::Engine& engine,
                                               const service::Configuration& configuration);

/// Through an endpoint on free ports, in this process, and a client. `engine` must outlive it.
std::unique_ptr<QaService> make_socket_service(service::Engine& engine,
                                               const service::Configuration& configuration);

}  // namespace alluvium::experiments
