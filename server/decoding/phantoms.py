"""Phrases that Whisper writes where nobody speaks: the ends of the videos it learnt from.

Knows: phrases, lower case, without punctuation (`guard.plain`).
Must not know: when one is dropped. Each is also something that people say, so a phrase alone
drops nothing.
"""

PHANTOMS = frozenset(
    {
        # Portuguese
        "obrigado",
        "obrigada",
        "muito obrigado",
        "obrigado por assistir",
        "obrigada por assistir",
        "obrigado pela atenção",
        "a cidade no brasil",
        "abertura",
        "música",
        "risos",
        "aplausos",
        "valeu",
        "até mais",
        "até logo",
        "deixe seu like",
        "ative o sininho",
        "tchau",
        "tchau tchau",
        "e aí",
        "até a próxima",
        "até o próximo vídeo",
        "inscreva se no canal",
        "se inscreva no canal",
        # English
        "you",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks for watching",
        "thank you for watching",
        "please subscribe",
        "like and subscribe",
        "bye",
        "bye bye",
        "okay",
        "so",
        "thanks",
        "music",
        "music playing",
        "applause",
        "silence",
        "the end",
        "see you next time",
        "see you in the next video",
        "don t forget to like and subscribe",
        # Spanish
        "gracias",
        "muchas gracias",
        "gracias por ver el video",
        "gracias por ver",
        "suscríbete",
        "suscríbete al canal",
        "gracias por su atención",
        # French
        "merci",
        "merci d avoir regardé cette vidéo",
        "merci d avoir regardé",
        # German
        "danke",
        "vielen dank",
        "vielen dank fürs zuschauen",
        # Italian
        "grazie",
        "grazie a tutti",
        "grazie per la visione",
        # Others
        "tack",
        "tack för att ni har tittat",
        "dziękuję",
        "altyazı m k",  # noqa: RUF001 - Turkish
        "izlediğiniz için teşekkür ederim",
        "продолжение следует",
        "спасибо за просмотр",
        "terima kasih",
        "ご視聴ありがとうございました",
        "チャンネル登録よろしくお願いします",
        "おやすみなさい",
        "谢谢观看",
        "謝謝觀看",
        "谢谢大家",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "字幕by索兰娅",
        "시청해주셔서 감사합니다",
        "구독과 좋아요 부탁드립니다",
        "mbc 뉴스 이덕영입니다",
    }
)

CREDITS = (
    "legenda",
    "legendas",
    "transcrição e legendas",
    "tradução e legendas",
    "subtitles by",
    "subtitled by",
    "captions by",
    "translated by",
    "transcribed by",
    "subtítulos",
    "sous titres",
    "sous titrage",
    "untertitel",
    "untertitelung",
    "sottotitoli",
    "undertexter",
    "ondertitels",
    "ondertiteld",
    "ondertiteling",
    "napisy",
    "субтитры",
)
"""How a credit for subtitles begins, whoever's name follows."""

MAX_CREDIT_WORDS = 10
"""A longer text that begins so is about something."""
