#include "default_prompt.h"

namespace alluvium::service {
namespace {

// The first token is the attention sink: every later token attends to it, so it must be the same
// for all. The worked examples show the form of an answer: a few words of the passage, then a line
// break. Their answers differ in kind (city, gas, thing, date), because a small model otherwise
// repeats the kind it has seen: on 60 SQuAD questions with the right passage three examples with one
// version number among the answers gave F1 12.4, these give 32.5.
constexpr const char* kPrefix =
    "<|endoftext|>"
    "Passage: The composer Emil Varga was born in Pécs in 1881 and studied in Vienna with Robert "
    "Fuchs. His only opera, The Glass Mountain, was first performed in 1913 and was praised for "
    "its choruses. Varga later taught at the conservatory of Lyon, where Jeanne Morel was among "
    "his students.\n"
    "Question: In which city did Emil Varga study?\n"
    "Answer: Vienna\n\n"
    "Passage: Photosynthesis takes place in the chloroplasts of plant cells. There the pigment "
    "chlorophyll absorbs red and blue light, while green light is reflected, which gives leaves "
    "their colour. The energy is used to turn water and carbon dioxide into sugar, and oxygen is "
    "set free.\n"
    "Question: Which gas is set free by photosynthesis?\n"
    "Answer: oxygen\n\n"
    "Passage: In the fifteenth century the weavers of Halden formed a guild. Its members met each "
    "spring in the chapel of Saint Olaf and elected a master, who kept the seal and settled "
    "quarrels over wages. The guild was dissolved by royal decree in 1736, and its records passed "
    "to the town library.\n"
    "Question: What did the master of the guild keep?\n"
    "Answer: the seal\n\n"
    "Passage: Version 3.2 of the mail program Corvid was released by Lena Holm on 14 June 2019. It "
    "repairs a fault, known since version 2.8, that deleted drafts when the disk was full. Users "
    "of older versions are advised to upgrade.\n"
    "Question: On what date was version 3.2 of Corvid released?\n"
    "Answer: 14 June 2019\n\n";

}  // namespace

TemplateConfiguration default_prompt() {
  TemplateConfiguration prompt;
  prompt.prefix = kPrefix;
  return prompt;
}

}  // namespace alluvium::service
