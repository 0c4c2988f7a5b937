#include <algorithm>
#include <string>

#include "alluvium/core/error.h"
#include "qa_service.h"

namespace alluvium::experiments {
namespace {

constexpr std::size_t kGroup = 64;
constexpr int64_t kPollMs = 200;

class DirectService final : public QaService {
 public:
  DirectService(service::Engine& engine, const service::Configuration& configuration)
      : engine_(engine), configuration_(configuration) {}

  void publish(const std::vector<Document>& documents,
               const std::function<void(int64_t)>& applied) override {
    int64_t reported = 0;
    int64_t logged = 0;
    const auto report = [&] {
      const int64_t done = logged - engine_.backlog();
      applied(std::max<int64_t>(done - reported, 0));
      reported = std::max(done, reported);
    };
    int64_t last = 0;
    for (std::size_t from = 0; from < documents.size(); from += kGroup) {
      std::vector<memory_bank::LogEntry> entries;
      for (std::size_t i = from; i < std::min(from + kGroup, documents.size()); ++i) {
        validate_document(documents[i], configuration_.ingest.limits);
        entries.push_back({.document = documents[i], .session = {}});
      }
      last = engine_.log(entries).back();
      logged += static_cast<int64_t>(entries.size());
      while (engine_.backlog() > configuration_.ingest.queue_documents) {
        engine_.wait_applied(last, kPollMs);
        report();
      }
    }
    while (!engine_.wait_applied(last, kPollMs)) {
      report();
    }
    report();
  }

  service::Answer ask(const service::Question& question) override { return engine_.ask(question); }

 private:
  service::Engine& engine_;
  const service::Configuration& configuration_;
};

}  // namespace

std::unique_ptr<QaService> make_direct_service(service::Engine& engine,
                                               const service::Configuration& configuration) {
  return std::make_unique<DirectService>(engine, configuration);
}

}  // namespace alluvium::experiments
