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
        "tchau",
        "tchau tchau",
        "e aí",
        "até a próxima",
        "até o próximo vídeo",
        "inscreva se no canal",
        "se inscreva no canal",
        "legendas pela comunidade amara org",
        "legendas pela comunidade das amara org",
        "legenda por sônia ruberti",
        "legenda adriana zanotto",
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
        "subtitles by the amara org community",
        # Spanish
        "gracias",
        "muchas gracias",
        "gracias por ver el video",
        "gracias por ver",
        "suscríbete",
        "suscríbete al canal",
        "subtítulos realizados por la comunidad de amara org",
        # French
        "merci",
        "merci d avoir regardé cette vidéo",
        "sous titres réalisés par la communauté d amara org",
        "sous titrage société radio canada",
        # German
        "danke",
        "vielen dank",
        "vielen dank fürs zuschauen",
        "untertitel der amara org community",
        "untertitelung des zdf 2020",
        "untertitel im auftrag des zdf für funk 2017",
        # Italian
        "grazie",
        "grazie a tutti",
        "grazie per la visione",
        "sottotitoli creati dalla comunità amara org",
        "sottotitoli e revisione a cura di qtss",
        # Others
        "tack",
        "tack för att ni har tittat",
        "undertexter från amara org gemenskapen",
        "ondertitels ingediend door de amara org gemeenschap",
        "ondertiteld door de amara org gemeenschap",
        "dziękuję",
        "napisy stworzone przez społeczność amara org",
        "altyazı m k",  # noqa: RUF001 - Turkish
        "izlediğiniz için teşekkür ederim",
        "продолжение следует",
        "спасибо за просмотр",
        "субтитры сделал dimatorzok",
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
