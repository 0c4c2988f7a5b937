#include "codec_base.h"

#include <cstring>

#include "alluvium/core/error.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

/// Raised whenever a codec's memories change their meaning.
constexpr int kCodecVersion = 2;

const CodecContext& check_context(const CodecContext& context) {
  ALLUVIUM_CHECK(context.decoder != nullptr && context.tokenizer != nullptr &&
                     context.prefix != nullptr && context.prefix->segment.slots() > 0,
                 "a codec needs a decoder, a tokenizer and a shared prefix that has been read");
  check_codec_options(context.options);
  return context;
}

}  // namespace

CodecBase::CodecBase(const CodecContext& context, const char* name, const std::string& storage)
    : context_(check_context(context)) {
  Sha256 digest;
  for (const Digest* part : {&decoder().fingerprint(), &context_.tokenizer->digest()}) {
    digest.update(part->data(), part->size());
  }
  const Digest prefix_digest = hash_tokens(prefix().tokens);
  digest.update(prefix_digest.data(), prefix_digest.size());
  digest.update(fmt::format("codec={} version={} storage={}", name, kCodecVersion, storage));
  fingerprint_ = digest.finish();
}

backbone::KvCache CodecBase::start_after_prefix(int64_t room) const {
  backbone::KvPrefix start;
  start.segments.push_back(prefix().segment);
  start.next_position = prefix_length();
  return decoder().start(start, room);
}

std::vector<backbone::ReadResult> CodecBase::read_after_prefix(
    std::span<const std::span<const backbone::TokenId>> texts) const {
  std::vector<backbone::KvCache> caches;
  caches.reserve(texts.size());  // requests point into it
  std::vector<backbone::ReadRequest> requests;
  for (const auto& tokens : texts) {
    ALLUVIUM_CHECK(!tokens.empty(), "a chunk must have at least one token");
    caches.push_back(start_after_prefix(static_cast<int64_t>(tokens.size())));
    backbone::ReadRequest request;
    request.cache = &caches.back();
    request.tokens = tokens;
    request.capture = true;
    requests.push_back(request);
  }
  return requests.empty() ? std::vector<backbone::ReadResult>{} : decoder().read(requests);
}

std::vector<Memory> CodecBase::compress(std::span<const Chunk> chunks) const {
  std::vector<Memory> memories;
  memories.reserve(chunks.size());
  for (const Chunk& chunk : chunks) {
    memories.push_back(remember_tokens(chunk));
  }
  return memories;
}

Memory CodecBase::remember_tokens(const Chunk& chunk) const {
  ALLUVIUM_CHECK(!chunk.tokens.empty(), "a chunk must have at least one token");
  Memory memory;
  memory.fingerprint = fingerprint_;
  memory.document_sha = hash_tokens(chunk.tokens);
  memory.tokens = chunk.tokens;
  return memory;
}

}  // namespace alluvium::memory_bank
