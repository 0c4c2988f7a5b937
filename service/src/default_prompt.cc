#include "default_prompt.h"

namespace alluvium::service {
namespace {

// The first token is the attention sink: every later token attends to it, so it must be the same
// for all. The worked examples show the form of an answer: a few words of the passage, then a line
// break. Several questions a passage teach a small model more than several passages with one each:
// it sees that the answer depends on the question. On 140 SQuAD training questions with the right
// passage one question a passage gave F1 23.7 to 28.6, two 30.7 to 31.6, these 35.1, in as many
// tokens as four passages with one question (26.7).
constexpr const char* kPrefix =
    "<|endoftext|>"
    "Passage: Weavers of Halden. In the fifteenth century the weavers of Halden formed a "
    "guild. Its members met each spring in the chapel of Saint Olaf and elected a master, who"
    " kept the seal and settled quarrels over wages. The guild was dissolved by royal decree "
    "in 1736.\n"
    "Question: What did the master of the guild keep?\n"
    "Answer: the seal\n"
    "Question: How was the guild dissolved?\n"
    "Answer: by royal decree\n"
    "Question: Where did the members of the guild meet?\n"
    "Answer: the chapel of Saint Olaf\n\n"
    "Passage: Marrow Bridge. The Marrow Bridge was built between 1887 and 1891 by the "
    "engineer Tomas Hale. It is 340 metres long and carries the northern railway over the "
    "river Ansel. After a fire in 1924 its wooden deck was replaced with steel.\n"
    "Question: Who built the Marrow Bridge?\n"
    "Answer: Tomas Hale\n"
    "Question: How long is the bridge?\n"
    "Answer: 340 metres\n"
    "Question: What was the deck replaced with?\n"
    "Answer: steel\n\n"
    "Passage: Ostermark. Ostermark is a flat coastal region with about 48,000 inhabitants. "
    "Most of them live from dairy farming and from the harbour of Brede. Its dykes were "
    "raised by two metres after 1962 to protect the villages from storm floods.\n"
    "Question: Why were the dykes raised?\n"
    "Answer: to protect the villages from storm floods\n"
    "Question: What kind of region is Ostermark?\n"
    "Answer: coastal\n"
    "Question: How many people live in Ostermark?\n"
    "Answer: 48,000\n\n";

}  // namespace

TemplateConfiguration default_prompt() {
  TemplateConfiguration prompt;
  prompt.prefix = kPrefix;
  return prompt;
}

}  // namespace alluvium::service
