#include "reader_examples.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "alluvium/core/error.h"
#include "alluvium/service/prompt.h"

namespace alluvium::experiments {
namespace {

// Draws of a distractor before any document is taken.
constexpr int kTries = 8;

// Distractors are drawn among so many of BM25's best, so that a question meets others in every epoch.
constexpr int64_t kHardest = 10;

// A question is a hard negative of so many documents: the ones that retrieval would put in the place of its own.
constexpr std::size_t kNearest = 3;

void check(const ReaderExampleOptions& options) {
  ALLUVIUM_CHECK(options.rows_per_batch >= 16, "rows_per_batch must be at least 16, got {}",
                 options.rows_per_batch);
  ALLUVIUM_CHECK(options.documents_per_question >= 1 && options.documents_per_question <= 8,
                 "documents_per_question must lie in [1, 8], got {}",
                 options.documents_per_question);
  ALLUVIUM_CHECK(options.unanswerable_share >= 0 && options.unanswerable_share < 1,
                 "unanswerable must lie in [0, 1), got {}", options.unanswerable_share);
  ALLUVIUM_CHECK(options.hard_negatives >= 0 && options.hard_negatives <= 1,
                 "hard_negatives must lie in [0, 1], got {}", options.hard_negatives);
  ALLUVIUM_CHECK(options.several_share >= 0 && options.several_share <= 1,
                 "several_share must lie in [0, 1], got {}", options.several_share);
}

}  // namespace

ReaderExamples::ReaderExamples(const std::vector<Document>& documents,
                               const std::vector<QaQuestion>& questions,
                               const service::TemplateConfiguration& prompt,
                               const backbone::Tokenizer& tokenizer,
                               const ReaderExampleOptions& options)
    : options_(options) {
  check(options);
  const std::string stop = prompt.stop.empty() ? "\n" : prompt.stop.front();
  const auto answer_tokens = [&](const std::string& answer) {
    return tokenizer.encode(" " + answer + stop);
  };
  refusal_ = answer_tokens(options.no_answer);
  std::unordered_map<std::string, const Document*> by_id;
  for (const Document& document : documents) {
    by_id[document.id] = &document;
  }
  std::unordered_map<std::string, std::size_t> places;
  // The place of a document of one chunk; nothing for longer ones.
  const auto place_of = [&](const Document& document) -> std::optional<std::size_t> {
    const auto place = places.find(document.id);
    if (place != places.end()) {
      return place->second;
    }
    auto chunks = service::document_chunks(prompt, tokenizer, document);
    if (chunks.size() != 1) {
      return std::nullopt;
    }
    documents_.push_back({.id = document.id,
                          .title = document.title,
                          .text = document.text,
                          .tokens = std::move(chunks.front().tokens)});
    places.emplace(document.id, documents_.size() - 1);
    return documents_.size() - 1;
  };
  for (const QaQuestion& asked : questions) {
    for (const std::string& id : asked.document_ids) {
      const auto found = by_id.find(id);
      if (asked.answers.empty() || found == by_id.end() ||
          found->second->text.find(asked.answers.front()) == std::string::npos) {
        continue;
      }
      const auto place = place_of(*found->second);
      if (!place) {
        continue;
      }
      questions_.push_back({.question = service::question_tokens(prompt, tokenizer, asked.text),
                            .answer = answer_tokens(asked.answers.front()),
                            .words = tokenizer.encode(" " + asked.text),
                            .answers = asked.answers,
                            .document = *place});
      break;
    }
  }
  ALLUVIUM_CHECK(!questions_.empty(),
                 "no question has an answer that stands in a document of one chunk");
  std::map<std::string, std::vector<std::size_t>> titles;
  for (std::size_t d = 0; d < documents_.size(); ++d) {
    asked_.push_back(d);
    titles[documents_[d].title].push_back(d);
  }
  for (const Document& document : documents) {
    const auto title = titles.find(document.title);
    if (title != titles.end() && places.count(document.id) == 0) {
      if (const auto place = place_of(document)) {
        title->second.push_back(*place);
      }
    }
  }
  for (const ReaderDocument& document : documents_) {
    same_title_.push_back(titles[document.title]);
  }
  of_document_.resize(documents_.size());
  for (std::size_t q = 0; q < questions_.size(); ++q) {
    of_document_[questions_[q].document].push_back(q);
  }
  std::vector<std::span<const backbone::TokenId>> texts;
  for (const ReaderDocument& document : documents_) {
    texts.emplace_back(document.tokens);
  }
  bm25_ = std::make_unique<TokenBm25>(texts);
  negatives_.resize(documents_.size());
  for (std::size_t q = 0; options.hard_negatives > 0 && q < questions_.size(); ++q) {
    for (const std::size_t document : nearest(q, kNearest)) {
      negatives_[document].push_back(q);
    }
  }
}

int64_t ReaderExamples::rows(const Reading& reading) const {
  std::size_t rows = 0;
  for (const std::size_t q : reading.questions) {
    rows += questions_[q].question.size() + questions_[q].answer.size() - 1;
  }
  for (const std::size_t q : reading.unanswerable) {
    rows += questions_[q].question.size() + refusal_.size() - 1;
  }
  return static_cast<int64_t>(rows);
}

bool ReaderExamples::answers(std::size_t document, std::size_t question) const {
  return document == questions_[question].document ||
         documents_[document].text.find(questions_[question].answers.front()) != std::string::npos;
}

bool ReaderExamples::holds_an_answer(std::size_t document,
                                     const std::vector<std::size_t>& questions) const {
  return std::any_of(questions.begin(), questions.end(),
                     [&](std::size_t q) { return answers(document, q); });
}

std::vector<std::size_t> ReaderExamples::nearest(std::size_t question, std::size_t count) const {
  std::vector<std::size_t> found = bm25_->best(questions_[question].words, kHardest);
  std::erase_if(found, [&](std::size_t document) { return answers(document, question); });
  found.resize(std::min(found.size(), count));
  return found;
}

std::vector<std::size_t> ReaderExamples::distractors(std::size_t gold, int64_t count,
                                                     Random& random) const {
  std::vector<std::size_t> found;
  const auto take = [&](std::size_t candidate) {
    if (candidate != gold && std::count(found.begin(), found.end(), candidate) == 0 &&
        !holds_an_answer(candidate, of_document_[gold])) {
      found.push_back(candidate);
    }
  };
  std::vector<std::size_t> pool;  // preferred, in the order tried
  if (options_.distractors == Distractors::bm25) {
    const auto& asked = of_document_[gold];
    pool = bm25_->best(questions_[asked[random.below(asked.size())]].words, kHardest);
    random.shuffle(pool);
  } else if (options_.distractors == Distractors::title) {
    for (int i = 0; i < kTries * count; ++i) {
      pool.push_back(same_title_[gold][random.below(same_title_[gold].size())]);
    }
  }
  for (const std::size_t candidate : pool) {
    if (static_cast<int64_t>(found.size()) < count) {
      take(candidate);
    }
  }
  for (int i = 0; static_cast<int64_t>(found.size()) < count && i < kTries * count; ++i) {
    take(random.below(documents_.size()));
  }
  return found;
}

Reading ReaderExamples::draw(std::size_t document, Random& random) const {
  Reading reading;
  reading.questions = of_document_[document];
  reading.codec = random.below(static_cast<uint64_t>(std::max<int64_t>(options_.codecs, 1)));
  int64_t count = 1;
  if (options_.documents_per_question > 1 && random.uniform() < options_.several_share) {
    count = 2 + static_cast<int64_t>(
                    random.below(static_cast<uint64_t>(options_.documents_per_question - 1)));
  }
  const bool withheld = random.uniform() < options_.unanswerable_share;
  reading.documents = distractors(document, withheld ? count : count - 1, random);
  if (withheld && !reading.documents.empty()) {
    reading.unanswerable.swap(reading.questions);
  } else {
    reading.documents.push_back(document);
    std::vector<std::size_t> negatives = negatives_[document];
    random.shuffle(negatives);
    for (std::size_t i = 0; i < negatives.size() && i < reading.questions.size(); ++i) {
      const bool answered =
          std::any_of(reading.documents.begin(), reading.documents.end(),
                      [&](std::size_t held) { return answers(held, negatives[i]); });
      if (random.uniform() < options_.hard_negatives && !answered) {
        reading.unanswerable.push_back(negatives[i]);
      }
    }
  }
  random.shuffle(reading.documents);
  return reading;
}

std::vector<std::vector<Reading>> ReaderExamples::schedule(int64_t batches) const {
  ALLUVIUM_CHECK(batches >= 1, "steps and parts must be positive, got {} batches", batches);
  std::vector<std::vector<Reading>> made(1);
  int64_t filled = 0;
  for (uint64_t epoch = 0;; ++epoch) {
    Random random(options_.seed * 1000003 + epoch);
    std::vector<std::size_t> order = asked_;
    random.shuffle(order);
    for (const std::size_t document : order) {
      Reading reading = draw(document, random);
      const int64_t more = rows(reading);
      if (filled > 0 && filled + more > options_.rows_per_batch) {
        if (static_cast<int64_t>(made.size()) == batches) {
          return made;
        }
        made.emplace_back();
        filled = 0;
      }
      filled += more;
      made.back().push_back(std::move(reading));
    }
  }
}

std::vector<std::vector<Reading>> ReaderExamples::batched(std::vector<Reading> readings) const {
  std::vector<std::vector<Reading>> made(1);
  int64_t filled = 0;
  for (Reading& reading : readings) {
    const int64_t more = rows(reading);
    if (filled > 0 && filled + more > options_.rows_per_batch) {
      made.emplace_back();
      filled = 0;
    }
    filled += more;
    made.back().push_back(std::move(reading));
  }
  return made;
}

std::vector<std::vector<Reading>> ReaderExamples::once() const {
  std::vector<Reading> readings;
  for (const std::size_t document : asked_) {
    readings.push_back(
        {.documents = {document}, .questions = of_document_[document], .unanswerable = {}});
  }
  return batched(std::move(readings));
}

std::vector<std::vector<Reading>> ReaderExamples::once_withheld() const {
  std::map<std::size_t, std::vector<std::size_t>> brought;
  for (std::size_t q = 0; q < questions_.size(); ++q) {
    for (const std::size_t document : nearest(q, 1)) {
      brought[document].push_back(q);
    }
  }
  std::vector<Reading> readings;
  for (const auto& [document, questions] : brought) {
    readings.push_back({.documents = {document}, .questions = {}, .unanswerable = questions});
  }
  return batched(std::move(readings));
}

}  // namespace alluvium::experiments
