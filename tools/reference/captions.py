"""DeepFloyd's caption cleaning: tests/data/if-cascade/captions.json, an array of [text, cleaned] by
diffusers' IFPipeline._clean_caption, twice, as its pipeline does. Needs beautifulsoup4 and ftfy.

Texts whose encoding ftfy would have to guess (mojibake) are not among them, and of HTML's named
characters those alone that captions hold.
"""

import json
import random
import warnings

from diffusers import IFPipeline

from common import DATA

warnings.filterwarnings("ignore")

PARTS = [
    "a photo of a kangaroo", "A Red CAT", "ΟΔΟΣ", "İstanbul", "https://example.com/a/b-c?d=e",
    "http:/x", "www.site.co.uk/page", "www:shop", "mail me@site.org now", "see site.ru.", "a.it/",
    "<person> smiling", "<b>bold</b> text", "<a href=\"x>y\">link</a>", "<!-- note -->", "1 < 2 > 0",
    "a <3 b", "<br/>", "<script>var x = 1;</script>", "&lt;b&gt;", "fish &amp; chips", "&quot;x&quot;",
    "AT&T", "caf&eacute;", "5 &euro;", "&#8211;", "&#x41;", "&#128; ", "@nick_name1 hello", "雪の日 snow",
    "日本", "한국어 text", "dash – dash — dash―dash", "‐‑", "«quoted» “text” `x´", "it’s ‘so’",
    "192.168.0.1", "1234.5.6.7890", "at 3:45  ", "line\\nbreak", "#12", "#1234", "#12345", "#tag",
    "123456", "12345", "1234567 8", "photo_1.jpg", "my.file.name.png here", ".pdf", "a.webpx",
    "\"\"\"SALE\"\"\"", "'' ''", "wait...", "end..", "***STARS***", "(round) [square] {curly} | \\ / ~",
    "• ½ ¾ º · ¡hola! ¿que? §5 ®©™", "a . b", "this-is-my-cute-cat", "this_is_my_cute_dog_too",
    "one-two", "jc6640", "abcd123", "ab12", "jc6640vc", "6640vc231", "j2d1a2a", "12ab34cd56",
    "worldwide free shipping", "free  shipping", "shipping", "free download free", "download",
    "click for more", "click on\tthis thing", "clicks", "png images", "jpg image", "jpeg", "mp4s",
    "page 12", "page  x", "homepage 3", "10x20", "2.5х3.5 cm", "4×6", "3x4.", "3x4.5x6", "x3",
    "title : subtitle", "a:b", "a,b", "1,5", "a.b/c", "end,", "tab\there", "  spaced   out  ",
    "'quoted'", "\"whole\"", "-dash", "dash-", "+plus+", "a+b", "100%25", "%41%42", "caf%C3%A9",
    "bad%FF%zz", ".hidden", ":colon", "ﬁne ﬂow", "Ｆｕｌｌ　ｗｉｄｔｈ", "e\u0301", "a\u0308\u0304",
    "\u200bzero", "soft\u00adhyphen", "nb\u00a0sp", "emoji 🐈‍⬛ 👩🏽‍🚀", "नमस्ते", "ไทย", "x²", "Ⅷ",
    "line\r\nbreak\rhere\u2028there", "\x07bell", "under_score", "don't", "5'10\"", "50% off",
    "a&b", "R&D;", "&copy;2020", "&nbsp;", "&hellip;", "&copyx y", "x &amp", "<b", "a <b c='d", "</ b> x",
    "<!x > y", "<1>", "x<y>z", "<style>a", "&#65b; ", "&notit; x", "&foo-bar.baz; x", "...", "", " ", "-", "_", "'", "\"",
]


def main():
    r = random.Random(11)
    texts = list(PARTS)
    texts += [r.choice([" ", "", ", ", " - "]).join(r.choice(PARTS) for _ in range(r.randint(2, 6)))
              for _ in range(700)]
    clean = IFPipeline._clean_caption
    holder = type("Holder", (), {"bad_punct_regex": IFPipeline.bad_punct_regex})()
    cases = []
    for text in texts:
        if text.isascii() or all(ord(c) < 0x10000 or c in "🐈🏽👩🚀" for c in text):
            cases.append([text, clean(holder, clean(holder, text))])
    path = DATA / "if-cascade/captions.json"
    path.write_text(json.dumps(cases, ensure_ascii=True, indent=0) + "\n")
    print(len(cases), "captions")


if __name__ == "__main__":
    main()
