// Questions over documents as a reader is trained on them, and the order in which it sees them.
//
// Purpose: which documents stand before which questions, step by step, is settled before the first step, from the data and a seed alone; a
//          run that is resumed goes on with the very batches it would have had.
// Source : docs/adr/0006; unanswerable questions as in SQuAD 2.0 (Rajpurkar et al., 2018), here by withholding and by BM25's hard negatives
//          (Karpukhin et al., "Dense Passage Retrieval", 2020, section 3.2).
// Threads: immutable after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/document.h"
#include "alluvium/core/random.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/service/configuration.h"
#include "token_bm25.h"

namespace alluvium::experiments {

/// Where a reading's distractors come from: those BM25 ranks highest for one of its questions, those of the same title, or any. The first
/// two fall back on any.
enum class Distractors { bm25, title, random };

struct ReaderExampleOptions {
  int64_t rows_per_batch = 1024;  ///< question and answer tokens of a micro-batch, about
  /// Documents attended to at most, gold among distractors; in [1, 8]
  int64_t documents_per_question = 1;
  /// Of the readings that have more than one document, when the above allows it
  double several_share = 0.3;
  double unanswerable_share = 0;  ///< of the readings whose right document is withheld; in [0, 1)
  /// Unanswerable questions beside those of a reading, for each of them: questions that BM25 would bring this document for, were theirs not
  /// there; in [0, 1]
  double hard_negatives = 0;
  Distractors distractors = Distractors::title;
  std::string no_answer = "not in the passage";  ///< the answer then
  /// Memories are made by one of so many codecs in turn, drawn for each reading
  int64_t codecs = 1;
  uint64_t seed = 0;
};

/// One chunk of a document.
struct ReaderDocument {
  std::string id;
  std::string title;
  std::string text;
  std::vector<backbone::TokenId> tokens;
};

struct ReaderQuestion {
  std::vector<backbone::TokenId> question;  ///< by the question template
  std::vector<backbone::TokenId> answer;    ///< first answer and the stop string
  std::vector<backbone::TokenId> words;     ///< of the question alone, without the template
  std::vector<std::string> answers;
  std::size_t document = 0;  ///< gold
};

/// Some questions asked over the same documents.
struct Reading {
  std::vector<std::size_t> documents;     ///< the gold one anywhere among them, or absent
  std::vector<std::size_t> questions;     ///< that a document answers
  std::vector<std::size_t> unanswerable;  ///< that none does: the refusal is their answer
  std::size_t codec = 0;
};

class ReaderExamples {
 public:
  /// Cuts documents and questions into tokens by the templates. A question counts when one of its documents is there, that document is one
  /// chunk and holds the first answer. Other documents count as distractors when they are one chunk and share their title with one that is
  /// asked about. Throws InvalidArgument when no question is left or an option is outside its bounds.
  ReaderExamples(const std::vector<Document>& documents, const std::vector<QaQuestion>& questions,
                 const service::TemplateConfiguration& prompt, const backbone::Tokenizer& tokenizer,
                 const ReaderExampleOptions& options);

  /// Those asked about first, then the distractors.
  const std::vector<ReaderDocument>& documents() const { return documents_; }
  std::size_t asked_documents() const { return asked_.size(); }

  const std::vector<ReaderQuestion>& questions() const { return questions_; }

  /// The declared refusal and the stop string.
  const std::vector<backbone::TokenId>& refusal() const { return refusal_; }

  const std::string& no_answer() const { return options_.no_answer; }

  /// The first `batches` micro-batches, over as many epochs as that takes.
  std::vector<std::vector<Reading>> schedule(int64_t batches) const;

  /// Every question once over its gold document, in document order, in batches.
  std::vector<std::vector<Reading>> once() const;

  /// Every question once over the document BM25 would bring were the right one not there, likewise; questions that share no word with any
  /// other document are left out.
  std::vector<std::vector<Reading>> once_withheld() const;

 private:
  Reading draw(std::size_t document, Random& random) const;
  std::vector<std::size_t> distractors(std::size_t gold, int64_t count, Random& random) const;
  bool holds_an_answer(std::size_t document, const std::vector<std::size_t>& questions) const;
  bool answers(std::size_t document, std::size_t question) const;
  // The best documents for a question by BM25 that do not answer it.
  std::vector<std::size_t> nearest(std::size_t question, std::size_t count) const;
  int64_t rows(const Reading& reading) const;
  std::vector<std::vector<Reading>> batched(std::vector<Reading> readings) const;

  ReaderExampleOptions options_;
  std::vector<ReaderDocument> documents_;
  std::vector<ReaderQuestion> questions_;
  std::vector<backbone::TokenId> refusal_;
  std::vector<std::size_t> asked_;                     // documents that have questions
  std::vector<std::vector<std::size_t>> of_document_;  // questions of each document
  // Documents of each document's title, itself among them.
  std::vector<std::vector<std::size_t>> same_title_;
  std::unique_ptr<const TokenBm25> bm25_;
  // Questions each document is a hard negative of; empty when none are asked for.
  std::vector<std::vector<std::size_t>> negatives_;
};

}  // namespace alluvium::experiments
