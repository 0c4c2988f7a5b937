#include "alluvium/core/sha256.h"

#include <openssl/evp.h>

#include "alluvium/core/error.h"

namespace alluvium {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  ALLUVIUM_ASSERT(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

Sha256& Sha256::update(const void* bytes, std::size_t size) {
  ALLUVIUM_ASSERT(EVP_DigestUpdate(context_->evp, bytes, size) == 1);
  return *this;
}

Digest Sha256::finish() {
  Digest digest{};
  unsigned int size = 0;
  ALLUVIUM_ASSERT(EVP_DigestFinal_ex(context_->evp, digest.data(), &size) == 1);
  return digest;
}

Digest sha256(std::string_view bytes) { return Sha256().update(bytes).finish(); }

std::string to_hex(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += fmt::format("{:02x}", byte);
  }
  return text;
}

}  // namespace alluvium
