#include "alluvium/core/sha256.h"

#include <string>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium {
namespace {

TEST_CASE("sha256: the standard's examples come out", "[core][sha256][oracle]") {
  CHECK(to_hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(to_hex(sha256("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(to_hex(sha256(std::string(1'000'000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256: pieces of any size give the digest of the whole", "[core][sha256][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  std::string text;
  Sha256 pieces;
  const auto count = static_cast<int>(random.below(10));
  for (int i = 0; i < count; ++i) {
    const std::string piece(random.below(150), static_cast<char>('a' + i));
    text += piece;
    pieces.update(piece);
  }
  CHECK(pieces.finish() == sha256(text));
}

TEST_CASE("sha256: zero bytes count", "[core][sha256]") {
  CHECK(sha256(std::string(1, '\0')) != sha256(""));
  CHECK(sha256(std::string(1, '\0')) != sha256(std::string(2, '\0')));
}

}  // namespace
}  // namespace alluvium
