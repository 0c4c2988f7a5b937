#include "alluvium/service/bank_recall.h"

#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "answer_chunks.h"

namespace alluvium::service {
namespace {

/// The words of a question within the template: retrieval should not look for "Question:".
std::string strip_template(const std::string& prompt, const std::string& pattern) {
  const std::string mark = "{question}";
  const std::size_t at = pattern.find(mark);
  const std::string before = pattern.substr(0, at);
  const std::string after = at == std::string::npos ? "" : pattern.substr(at + mark.size());
  const bool fits = prompt.size() >= before.size() + after.size() && prompt.starts_with(before) &&
                    prompt.ends_with(after);
  return fits ? prompt.substr(before.size(), prompt.size() - before.size() - after.size()) : prompt;
}

class BankRecall final : public selectors::MemoryRecall {
 public:
  BankRecall(Engine& engine, const Configuration& configuration)
      : engine_(engine),
        configuration_(configuration),
        codec_(engine.codec(configuration.answer.codec)) {
    if (!codec_.stores_tensors()) {
      throw NotSupported(fmt::format("dg_mem needs stored memories; answer.codec is '{}'",
                                     configuration.answer.codec));
    }
  }

  std::string label() const override {
    return fmt::format("memories {} of {}", to_hex(codec_.aim()).substr(0, 12),
                       engine_.store().directory());
  }

  std::optional<selectors::RecalledContexts> recall(const selectors::Sample& sample,
                                                    int64_t room) override {
    const auto memory = best_memory(strip_template(sample.prompt, configuration_.prompt.question));
    if (!memory) {
      return std::nullopt;
    }
    const backbone::Decoder& decoder = *engine_.models().decoder;
    return selectors::RecalledContexts{decoder.start(codec_.to_prefix({}, room), room),
                                       decoder.start(codec_.to_prefix({&memory, 1}, room), room)};
  }

 private:
  std::shared_ptr<const memory_bank::Memory> best_memory(const std::string& question) {
    const auto hits = engine_.retriever().search(
        {.text = question,
         .limit = 1,
         .method = memory_bank::parse_retrieval_method(configuration_.answer.retrieval)});
    if (hits.empty()) {
      return nullptr;
    }
    const auto chunks = engine_.store().chunks(hits.front().document_row);
    const auto document = engine_.store().read_document(hits.front().document_row);
    if (chunks.empty() || !document) {
      return nullptr;
    }
    std::vector<std::string_view> texts;
    for (const memory_bank::ChunkRow& row : chunks) {
      texts.push_back(std::string_view(document->text)
                          .substr(row.chunk.begin, row.chunk.end - row.chunk.begin));
    }
    return engine_.store().load_memory(chunks[best_part(question, texts)].row,
                                       codec_.fingerprint());
  }

  Engine& engine_;
  const Configuration configuration_;
  const memory_bank::Codec& codec_;
};

}  // namespace

std::unique_ptr<selectors::MemoryRecall> make_bank_recall(Engine& engine,
                                                          const Configuration& configuration) {
  return std::make_unique<BankRecall>(engine, configuration);
}

}  // namespace alluvium::service
