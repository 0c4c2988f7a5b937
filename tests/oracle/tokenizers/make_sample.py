"""Writes sample.json: texts and the reference implementation's ids for them.

    python tests/oracle/tokenizers/make_sample.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --json all-minilm-l6-v2/tokenizer.json

Needs `tokenizers` and `gguf`. The texts are our own; the ids under "plain" spell special tokens out, those under "recognise" (left out where they are
the same) find them.
"""
import argparse
import json
import os

from compare_tokenizers import reference_from_gguf, reference_from_json, synthetic_texts

HAND_WRITTEN = [
    "The river rose two metres in the night; by morning it had left the village.",
    "Don't, won't, she'll, they've, I'm, we're, he'd - and O'Neill's 'quoted' word.",
    "DON'T SHE'LL THEY'VE I'M",
    "1234567890 and 3.14159 and 1,000,000 and 0xdeadbeef",
    "version 2.36.1-8+deb12u3, 2024-02-29T23:59:60Z, 10%, $12.50, €3, £4, ¥5",
    " leading space", "trailing space ", "  two  spaces  everywhere  ", "\ttab\tseparated\tvalues\t",
    "line one\nline two\n\n\nline five\n", "windows\r\nline\r\nends\r\n", "old mac\rline\rends\r", "\r\n\r\n\n\r \t\r\n",
    " ", "  ", "   ", "\n", "\n\n", " \n ", "\t\t\t\t", "        x", "x        ", "\u00a0\u00a0non\u00a0breaking\u00a0",
    "\u2003em\u2003space\u3000ideographic\u2028line\u2029paragraph\u0085next",
    "for (int i = 0; i < n; ++i) {\n    sum += values[i] * 2;  // twice\n}\n",
    "def f(x):\n\treturn {k: v for k, v in x.items() if v != None}\n",
    "#include <vector>\nstd::vector<std::unique_ptr<int>>&& take();\n",
    "SELECT * FROM t WHERE a >= 'x''y' AND b <> 7;", "https://example.org/a/b?c=d&e=%20f#g", "user@example.org",
    "<html><body class=\"a\">&amp;</body></html>", "$HOME/.config/*.conf | grep -v '^#' >/dev/null 2>&1",
    "{\"key\": [1, 2.5, -3e-7, null, true], \"λ\": \"\\u00e9\"}",
    "Grüße aus Köln, naïve façade, Ångström, smørrebrød, Łódź, Đorđe, İstanbul, ıssız, ẞ ß",
    "e\u0301 vs é, n\u0303 vs ñ, a\u0323\u0307 vs a\u0307\u0323, o\u0302\u0301\u0323 stacked",
    "z\u0351\u036b\u0343\u036a\u0302a\u030d\u030e\u0304l\u0338\u0316g\u0334\u0347o\u0322 combining",
    "Αθήνα, Ὀδυσσεύς, ΣΊΣΥΦΟΣ, λόγος", "Москва, Ёлка, ёж, Київ, Ђорђе", "Հայերեն, ქართული",
    "שָׁלוֹם עולם", "السلام عليكم، كَيْفَ حَالُك؟", "नमस्ते दुनिया, क्षत्रिय", "ภาษาไทยไม่มีช่องว่าง", "தமிழ் మాట ಕನ್ನಡ",
    "中文没有空格。繁體中文也沒有。", "日本語のテキスト、カタカナとひらがな。", "ﾊﾝｶｸ ｶﾀｶﾅ", "한국어 텍스트입니다. \u1112\u1161\u11ab\u1100\u1173\u11af",
    "𠀀𠮷𪜀 extension ideographs 﨎 豈", "全角ＡＢＣ１２３！", "Tiếng Việt có dấu thanh",
    "😀😃😄 smile", "👩‍🚀👨‍👩‍👧‍👦 joined", "👍🏽👍🏿 tones", "🇩🇪🇫🇷🇯🇵 flags", "❤️ ❤ ☎️ variation", "1️⃣2️⃣ keycaps", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 tags",
    "① ② ½ ¾ ² ³ Ⅳ Ⅻ ٣٤٥ १२३ 𝟘𝟙 〇", "math: ∑∫√∞≠≤≥±×÷ α²+β²=γ²", "arrows → ← ⇒ ↔ and boxes ┌─┐│└┘",
    "“curly” ‘quotes’ – en — em … ellipsis «guillemets» „low“", "¿Qué? ¡Sí!", "a·b•c†d‡e§f¶g©h®i™",
    "null:\x00 bell:\x07 escape:\x1b[31m delete:\x7f c1:\x80\x9f", "\x01\x02\x03\x04\x05\x06\x0e\x1f",
    "zero\u200bwidth\u200cjoin\u200der\ufeffbom\u00adsoft", "\u202eright to left\u202c \u200e\u200f", "\ufffd replacement \ufffe\uffff",
    "private \ue000\uf8ff\U000f0000 unassigned \u0378\U000e0080", "\ufb01\ufb02\u01c4\u01c5 ligatures ǆ",
    "'s't're've'm'll'd", "'S'T'Re'vE'M'LL'D'\u017f", "'' ''' 'x '1 ' ", "''s", "a's's", "''''''''",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababababababababababab",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 99, "x" * 100, "x" * 101, "é" * 100, "é" * 101, "!" * 50, "=" * 80, "-" * 33, "#" * 7, " " * 63, "\n" * 17,
    "CamelCaseIdentifiers snake_case_names SCREAMING_CASE kebab-case-names", "a1b2c3 4d5e6f v1.2.3rc4",
    "state-of-the-art", "C++20, C#, F#, .NET, node.js", "... .. . , ,, ;; :: ?! !? !!",
    "[brackets] (parens) {braces} <angles>", "back\\slash and `ticks` and ~tilde~ ^caret^",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "<|im_end|><|im_end|>", "<|im_end|", "<|<|im_end|>|>",
    "[CLS] a [SEP] b [SEP]", "[MASK] [PAD] [UNK]", "[cls] [ CLS ]", "<repo_name>x<file_sep>y",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--json", required=True)
    arguments = parser.parse_args()
    references = {"smollm": reference_from_gguf(arguments.gguf), "minilm": reference_from_json(arguments.json)}
    texts = HAND_WRITTEN + [text for text in synthetic_texts(600, 7) if len(text) < 120]
    rows = []
    for text in texts:
        row = {"text": text}
        for name, reference in references.items():
            for mode in ("plain", "recognise"):
                reference.encode_special_tokens = mode == "plain"
                row[f"{name}_{mode}"] = reference.encode(text, add_special_tokens=False).ids
            if row[f"{name}_recognise"] == row[f"{name}_plain"]:
                del row[f"{name}_recognise"]
        rows.append(row)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample.json")
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
    print(len(rows), "texts")


if __name__ == "__main__":
    main()
