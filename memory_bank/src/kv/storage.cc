#include "kv/storage.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ops/abs.h>
#include <ATen/ops/all.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "alluvium/backbone/parallel.h"
#include "alluvium/core/error.h"
#include "kv/compensation.h"
#include "kv/entropy.h"
#include "kv/layer_section.h"
#include "kv/record_check.h"
#include "kv/transform.h"

namespace alluvium::memory_bank {
namespace {

constexpr double kHighestHalf = 65504;

at::Tensor host(const at::Tensor& tensor, at::ScalarType type, bool quantised) {
  const at::Tensor stored =
      tensor.to(at::TensorOptions().dtype(type).device(at::kCPU)).contiguous();
  if (quantised && !at::abs(stored).le(kHighestHalf).all().item<bool>()) {
    throw NumericError("keys or values of a chunk are not finite in float16");
  }
  return stored;
}

void check_constants(std::span<const HeadChannels> channels) {
  for (const HeadChannels& head : channels) {
    for (const float constant : head.constant) {
      if (!(std::abs(constant) <= kHighestHalf)) {
        throw NumericError("the mean of a key channel is not finite in float16");
      }
    }
  }
}

SectionShape shape_of(const StoredKv& stored, int64_t tokens, int64_t key_bits,
                      int64_t value_bits) {
  return {.tokens = tokens,
          .kv_heads = stored.kv_heads,
          .head_dim = stored.head_dim,
          .key_group = stored.key_group,
          .scale_bits = stored.scale_bits,
          .residual_rank = stored.residual_rank,
          .type = stored.type,
          .everything = stored.everything,
          .compensated = stored.compensated,
          .fewer_channels = stored.fewer_channels,
          .tail_bits = stored.tail_bits,
          .row_keys = stored.row_keys,
          .key_bits = key_bits,
          .value_bits = value_bits};
}

/// Null where ranges are stored, or numbers as they are.
std::shared_ptr<const Transform> transform_of(const StoredKv& stored, std::size_t layers,
                                              const KvBasis* basis) {
  if (!stored.transformed()) {
    return nullptr;
  }
  if (basis == nullptr || basis->mark() != stored.basis_mark) {
    throw NotSupported(fmt::format(
        "memory record: it is written in the basis {:08x}, and {}", stored.basis_mark,
        basis == nullptr ? std::string("there is none (codec.basis)")
                         : fmt::format("the one there is (codec.basis) is {:08x}", basis->mark())));
  }
  require(static_cast<int64_t>(layers) == basis->layers() && stored.kv_heads == basis->kv_heads() &&
              stored.head_dim == basis->head_dim(),
          "its shape is not that of its basis");
  return Transform::shared(*basis, {stored.key_step, stored.value_step});
}

int64_t sum(std::span<const int64_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

/// Sections as decode_section() reads them: those of the record, or decoded ones, which this owns.
class PlainSections {
 public:
  PlainSections(const StoredKv& stored, int64_t tokens, std::span<const StoredLayer> layers)
      : decoded_(layers.size()) {
    at::parallel_for(0, static_cast<int64_t>(layers.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const StoredLayer& layer = layers[static_cast<std::size_t>(i)];
        if (layer.coder != EntropyCoder::none) {
          decoded_[static_cast<std::size_t>(i)] =
              plain_section(layer.coder, shape_of(stored, tokens, layer.key_bits, layer.value_bits),
                            layer.section, layer.plain_bytes);
        }
      }
    });
    for (std::size_t i = 0; i < layers.size(); ++i) {
      sections_.push_back(layers[i].coder == EntropyCoder::none ? layers[i].section : decoded_[i]);
    }
  }

  std::span<const std::byte> operator[](std::size_t layer) const { return sections_[layer]; }

 private:
  std::vector<std::vector<std::byte>> decoded_;
  std::vector<std::span<const std::byte>> sections_;
};

}  // namespace

std::vector<StoredLayer> layers_of(const StoredKv& stored) {
  std::vector<StoredLayer> layers;
  for (const StoredKv::Layer& layer : stored.layers) {
    layers.push_back(
        {layer.key_bits, layer.value_bits, layer.section, layer.coder, layer.plain_bytes});
  }
  return layers;
}

StoredKv store_kv(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                  at::ScalarType type, const KvSettings& settings,
                  const CompensationRows& compensation, std::span<const HeadChannels> channels,
                  const KvBasis* basis) {
  StoredKv stored;
  const int64_t layers = keys.size(0);
  const int64_t tokens = keys.size(2);
  stored.kv_heads = keys.size(1);
  stored.head_dim = keys.size(3);
  stored.key_group = settings.key_group;
  stored.scale_bits = settings.quantised() ? settings.scale_bits : 16;
  stored.residual_rank = settings.residual_rank;
  stored.type = type;
  stored.everything = kept.everything();
  stored.compensated = !compensation.counts.empty();
  stored.fewer_channels = !channels.empty();
  stored.tail_bits = kept.everything() ? 0 : settings.tail_bits;
  stored.row_keys = settings.quantised() && settings.quantiser == Quantiser::cachegen;
  if (settings.transformed()) {
    stored.key_step = static_cast<float>(settings.key_step);
    stored.value_step = static_cast<float>(settings.value_step);
    ALLUVIUM_CHECK(basis != nullptr, "codec.quantiser = transform needs a basis");
    stored.basis_mark = basis->mark();
  }
  const auto transform = transform_of(stored, static_cast<std::size_t>(layers), basis);
  const bool narrows = settings.quantised() || settings.transformed();
  check_constants(channels);
  CompensationRows narrow = compensation;
  if (stored.compensated) {
    narrow.keys = host(narrow.keys, at::kHalf, true);
    narrow.values = host(narrow.values, at::kHalf, true);
  }
  const at::ScalarType source = narrows ? at::kFloat : type;
  const at::Tensor all_keys = host(keys, source, narrows);
  const at::Tensor all_values = host(values, source, narrows);

  KeptRows rows = kept;
  if (kept.everything()) {
    rows.counts.assign(static_cast<std::size_t>(layers * stored.kv_heads), tokens);
    rows.positions =
        at::arange(tokens, at::TensorOptions().dtype(at::kLong)).repeat({layers * stored.kv_heads});
  }
  const std::span<const int64_t> positions{rows.positions.const_data_ptr<int64_t>(),
                                           static_cast<std::size_t>(rows.positions.numel())};
  const auto heads = static_cast<std::size_t>(stored.kv_heads);
  std::vector<std::size_t> first(static_cast<std::size_t>(layers) + 1, 0);
  for (std::size_t l = 0; l < static_cast<std::size_t>(layers); ++l) {
    first[l + 1] =
        first[l] + static_cast<std::size_t>(sum(std::span(rows.counts).subspan(l * heads, heads)));
  }
  stored.layers.resize(static_cast<std::size_t>(layers));
  const auto width = static_cast<int64_t>(8 * at::elementSize(type));
  at::parallel_for(0, layers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t layer = begin; layer < end; ++layer) {
      const auto l = static_cast<std::size_t>(layer);
      StoredKv::Layer& out = stored.layers[l];
      const bool boundary = std::min(layer, layers - 1 - layer) < settings.boundary_layers;
      const auto bits = [&](int64_t wanted) {
        return settings.quantised() ? (boundary ? std::max(wanted, settings.boundary_bits) : wanted)
               : stored.transformed() ? 0
                                      : width;
      };
      out.key_bits = bits(settings.key_bits);
      out.value_bits = bits(settings.value_bits);
      SectionShape shape = shape_of(stored, tokens, out.key_bits, out.value_bits);
      shape.quantiser = settings.quantiser;
      const auto counts = std::span<const int64_t>(rows.counts).subspan(l * heads, heads);
      const auto here = channels.empty() ? channels : channels.subspan(l * heads, heads);
      const auto here_kept = positions.subspan(first[l], first[l + 1] - first[l]);
      if (stored.transformed()) {
        const auto numbers =
            transform->encode(layer, all_keys[layer], all_values[layer], counts, here_kept);
        out.section.resize(lead_bytes(shape, here) + numbers.size() + end_bytes(shape));
        std::copy(numbers.begin(), numbers.end(),
                  write_kept_rows(shape, counts, here_kept, out.section.data()));
      } else {
        out.section =
            encode_section(shape, all_keys[layer], all_values[layer], counts, here_kept, here);
      }
      if (stored.compensated) {
        write_compensation(narrow, layer, stored.kv_heads,
                           out.section.data() + out.section.size() - end_bytes(shape));
      }
      out.plain_bytes = out.section.size();
      if (auto coded = code_section(settings.entropy, shape, counts, here, out.section)) {
        out.section = *std::move(coded);
        out.coder = settings.entropy;
      }
    }
  });
  return stored;
}

void load_kv(const StoredKv& stored, std::span<const StoredLayer> layers, Memory& memory,
             const KvBasis* basis) {
  const int64_t tokens = memory.length();
  const auto transform = transform_of(stored, layers.size(), basis);
  const auto heads = static_cast<std::size_t>(stored.kv_heads);
  const PlainSections sections(stored, tokens, layers);
  std::vector<int64_t> counts;
  std::vector<int64_t> positions;
  std::vector<int64_t> first = {0};
  std::vector<std::vector<HeadChannels>> channels;  // of each layer
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const SectionShape shape = shape_of(stored, tokens, layers[l].key_bits, layers[l].value_bits);
    if (stored.everything) {
      counts.insert(counts.end(), heads, tokens);
    } else {
      read_kept_rows(shape, sections[l], counts, positions);
    }
    const auto here = std::span<const int64_t>(counts).last(heads);
    channels.push_back(stored.fewer_channels ? read_channels(shape, sections[l])
                                             : std::vector<HeadChannels>{});
    const std::size_t plain = stored.transformed() ? lead_bytes(shape, {}) + end_bytes(shape)
                                                   : section_bytes(shape, here, channels.back());
    require(stored.transformed() ? sections[l].size() >= plain : sections[l].size() == plain,
            "a layer's section has another length than its rows");
    first.push_back(first.back() +
                    (shape.whole() ? static_cast<int64_t>(heads) * tokens : sum(here)));
  }
  const bool whole = stored.everything || stored.tail_bits > 0;

  const auto options = at::TensorOptions().dtype(stored.type);
  const std::vector<int64_t> sizes =
      whole ? std::vector<int64_t>{static_cast<int64_t>(layers.size()), stored.kv_heads, tokens,
                                   stored.head_dim}
            : std::vector<int64_t>{first.back(), stored.head_dim};
  memory.keys = at::empty(sizes, options);
  memory.values = at::empty(sizes, options);
  auto* keys = static_cast<std::byte*>(memory.keys.mutable_data_ptr());
  auto* values = static_cast<std::byte*>(memory.values.mutable_data_ptr());
  const std::size_t row_bytes =
      static_cast<std::size_t>(stored.head_dim) * at::elementSize(stored.type);
  at::parallel_for(0, static_cast<int64_t>(layers.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto l = static_cast<std::size_t>(i);
      const std::size_t at = static_cast<std::size_t>(first[l]) * row_bytes;
      const SectionShape shape = shape_of(stored, tokens, layers[l].key_bits, layers[l].value_bits);
      const auto here = std::span<const int64_t>(counts).subspan(l * heads, heads);
      if (!stored.transformed()) {
        decode_section(shape, sections[l], here, channels[l], keys + at, values + at);
        continue;
      }
      const std::size_t lead = lead_bytes(shape, {});
      const TransformedRows rows = transform->decode(
          i, sections[l].subspan(lead, sections[l].size() - lead - end_bytes(shape)), here);
      for (const auto& [from, to] : {std::pair{&rows.keys, keys}, {&rows.values, values}}) {
        at::from_blob(to + at, from->sizes(), options).copy_(*from);
      }
    }
  });
  memory.compensation = {};
  if (stored.compensated) {
    CompensationRows& rows = memory.compensation;
    const auto slots = static_cast<int64_t>(counts.size());
    rows.keys = at::empty({slots, stored.head_dim}, at::kHalf);
    rows.values = at::empty({slots, stored.head_dim}, at::kHalf);
    for (std::size_t l = 0; l < layers.size(); ++l) {
      read_compensation(sections[l].last(compensation_bytes(stored.kv_heads, stored.head_dim)),
                        tokens, std::span<const int64_t>(counts).subspan(l * heads, heads), rows);
    }
    rows.keys = rows.keys.to(stored.type);
    rows.values = rows.values.to(stored.type);
  }
  memory.kept = {};
  if (!whole) {
    memory.kept.counts = std::move(counts);
    memory.kept.positions =
        at::from_blob(positions.data(), {static_cast<int64_t>(positions.size())},
                      at::TensorOptions().dtype(at::kLong))
            .clone();
  }
}

}  // namespace alluvium::memory_bank
