#include "kv/section_planes.h"

#include <c10/util/Half.h>

#include "kv/quantise.h"
#include "kv/residual.h"
#include "kv/scale_table.h"

namespace alluvium::memory_bank {
namespace {

// Places of a kind among those of keys or of values.
constexpr std::size_t kCodes = 0;
constexpr std::size_t kWideScales = 1;  // low bytes, high bytes
constexpr std::size_t kWideMinima = 3;
constexpr std::size_t kFactors = 5;
constexpr std::size_t kNarrowScales = 7;
constexpr std::size_t kNarrowMinima = 8;
constexpr std::size_t kLadders = 9;
constexpr std::size_t kPlain = 10;  // to 4 bytes
constexpr std::size_t kKinds = 14;
static_assert(kPlanes == 4 * kKinds);

/// Numbers of one plane: codes packed from `at` on, or bytes, each `stride` after the last.
struct Run {
  std::size_t plane;
  std::size_t at;
  std::size_t count;
  std::size_t stride = 1;
  int64_t bits = 8;
};

/// Calls visit(Run) for all keys and values of a section, in the order of its bytes. The layout is
/// that of layer_section, quantise, scale_table and residual.
template <class Visit>
class SectionWalk {
 public:
  SectionWalk(const SectionShape& shape, Visit visit) : shape_(shape), visit_(visit) {}

  void walk(std::span<const int64_t> counts, std::span<const HeadChannels> channels) {
    walk_part(0, shape_, counts, channels);
    if (shape_.tail_bits > 0) {
      walk_part(2 * kKinds, tail_of(shape_), tail_counts(shape_, counts), channels);
    }
  }

 private:
  void walk_part(std::size_t kinds, const SectionShape& part, std::span<const int64_t> counts,
                 std::span<const HeadChannels> channels) {
    for (std::size_t h = 0; h < counts.size(); ++h) {
      walk_numbers(kinds, keys_of(part, counts[h], width_of(part, channels, h)));
    }
    for (const int64_t rows : counts) {
      walk_numbers(kinds + kKinds, values_of(part, rows));
    }
  }

  void walk_numbers(std::size_t kinds, const HeadNumbers& numbers) {
    if (!numbers.coded()) {
      interleaved(kinds + kPlain, static_cast<std::size_t>(numbers.rows * numbers.width),
                  at::elementSize(numbers.type));
      return;
    }
    const int64_t lines =
        numbers.group == 0 ? numbers.rows : (numbers.rows + numbers.group - 1) / numbers.group;
    walk_scales(kinds, static_cast<std::size_t>(lines),
                numbers.group == 0 ? 1 : static_cast<std::size_t>(numbers.width));
    for (int64_t row = 0; row < numbers.rows; ++row) {
      visit_(Run{.plane = kinds + kCodes,
                 .at = at_,
                 .count = static_cast<std::size_t>(numbers.width),
                 .bits = numbers.bits});
      at_ += code_bytes(numbers.width, numbers.bits);
    }
    interleaved(
        kinds + kFactors,
        residual_bytes(numbers.rows, numbers.width, numbers.residual_rank) / sizeof(c10::Half),
        sizeof(c10::Half));
  }

  void walk_scales(std::size_t kinds, std::size_t lines, std::size_t width) {
    if (shape_.scale_bits == 8) {
      interleaved(kinds + kLadders, scale_bytes(0, 0, 8), 1);
    }
    for (std::size_t line = 0; line < lines; ++line) {
      if (shape_.scale_bits == 8) {
        interleaved(kinds + kNarrowScales, width, 1);
        interleaved(kinds + kNarrowMinima, width, 1);
      } else {
        interleaved(kinds + kWideScales, width, 2);
        interleaved(kinds + kWideMinima, width, 2);
      }
    }
  }

  /// `count` numbers of `bytes` bytes, each byte in a plane of its own.
  void interleaved(std::size_t plane, std::size_t count, std::size_t bytes) {
    for (std::size_t byte = 0; byte < bytes; ++byte) {
      visit_(Run{.plane = plane + byte, .at = at_ + byte, .count = count, .stride = bytes});
    }
    at_ += count * bytes;
  }

  const SectionShape& shape_;
  Visit visit_;
  std::size_t at_ = 0;
};

}  // namespace

Planes empty_planes(const SectionShape& shape, std::span<const int64_t> counts,
                    std::span<const HeadChannels> channels) {
  std::array<std::size_t, kPlanes> sizes{};
  Planes planes;
  SectionWalk(shape, [&](const Run& run) {
    sizes[run.plane] += run.count;
    planes[run.plane].bits = run.bits;
  }).walk(counts, channels);
  for (std::size_t i = 0; i < kPlanes; ++i) {
    planes[i].symbols.resize(sizes[i]);
  }
  return planes;
}

void split_section(const SectionShape& shape, std::span<const int64_t> counts,
                   std::span<const HeadChannels> channels, const std::byte* rows, Planes& planes) {
  std::array<std::size_t, kPlanes> filled{};
  SectionWalk(shape, [&](const Run& run) {
    uint8_t* symbols = planes[run.plane].symbols.data() + filled[run.plane];
    if (run.bits < 8) {
      unpack_codes(rows + run.at, static_cast<int64_t>(run.count), run.bits, symbols);
    } else {
      for (std::size_t i = 0; i < run.count; ++i) {
        symbols[i] = static_cast<uint8_t>(rows[run.at + i * run.stride]);
      }
    }
    filled[run.plane] += run.count;
  }).walk(counts, channels);
}

void join_section(const SectionShape& shape, std::span<const int64_t> counts,
                  std::span<const HeadChannels> channels, const Planes& planes, std::byte* rows) {
  std::array<std::size_t, kPlanes> taken{};
  SectionWalk(shape, [&](const Run& run) {
    const uint8_t* symbols = planes[run.plane].symbols.data() + taken[run.plane];
    if (run.bits < 8) {
      pack_codes(symbols, static_cast<int64_t>(run.count), run.bits, rows + run.at);
    } else {
      for (std::size_t i = 0; i < run.count; ++i) {
        rows[run.at + i * run.stride] = static_cast<std::byte>(symbols[i]);
      }
    }
    taken[run.plane] += run.count;
  }).walk(counts, channels);
}

}  // namespace alluvium::memory_bank
