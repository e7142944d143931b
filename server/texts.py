"""Every text of ours that a client can meet, in English and in Portuguese.

Knows: what is wrong, in words, and what to do about it.
Must not know: when a text is said (the raise does), or which language a caller reads (`http`).

Each text says what to do next. Templates take `str.format`'s fields; a value may be a text itself.
The Portuguese is Brazil's.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "pt"]


@dataclass(frozen=True, slots=True)
class Text:
    """One message in both languages, and the values for its template."""

    en: str
    pt: str
    values: tuple[tuple[str, object], ...] = ()

    def filled(self, **values: object) -> "Text":
        """The same text with values; they are never taken for templates."""
        return replace(self, values=(*self.values, *values.items()))

    def said(self, language: Language = "en") -> str:
        """The whole sentence in a language."""
        values = {
            name: value.said(language) if isinstance(value, Text) else value
            for name, value in self.values
        }
        template = self.en if language == "en" else self.pt
        return template.format(**values)

    def __str__(self) -> str:
        return self.said()


# The request as HTTP.

MALFORMED = Text(
    "This is not a well-formed HTTP/1.1 request. Correct the client, or the proxy before it.",
    "Esta não é uma requisição HTTP/1.1 bem formada. Corrija o cliente, ou o proxy diante dele.",
)
UNREADABLE = Text(
    "The request cannot be read. Check its headers.",
    "A requisição não pode ser lida. Verifique os cabeçalhos.",
)
UNKNOWN_URL = Text(
    "No such URL. See the routes at `/docs`; a base URL ends in `/v1`.",
    "Esta URL não existe. Veja as rotas em `/docs`; uma URL base termina em `/v1`.",
)
WRONG_METHOD = Text(
    "This URL does not take this method. Use one of those that the header `Allow` lists.",
    "Esta URL não aceita este método. Use um dos que o cabeçalho `Allow` lista.",
)
NO_KEY = Text(
    "You did not provide an API key. Send it as `Authorization: Bearer wsk_...`.",
    "Nenhuma chave de API foi enviada. Envie-a como `Authorization: Bearer wsk_...`.",
)
WRONG_KEY = Text(
    "Incorrect API key. Send a valid one as `Authorization: Bearer wsk_...`.",
    "Chave de API incorreta. Envie uma válida como `Authorization: Bearer wsk_...`.",
)
NO_SCOPE = Text(
    "This API key lacks the scope `{scope}`. Ask whoever runs the server for one that has it.",
    "Falta a esta chave de API o escopo `{scope}`. Peça a quem opera o servidor uma que o tenha.",
)

# What a caller may use up.

TOO_MANY_FAILURES = Text(
    "Incorrect API key, and too many of them came from your address. Send a good one, which is "
    "taken at once, or try again in {wait} s.",
    "Chave de API incorreta, e muitas delas vieram do seu endereço. Envie uma válida, que é aceita "
    "na hora, ou tente de novo em {wait} s.",
)
MINUTE_USED_UP = Text(
    "Your API key may send {limit} requests a minute. Try again in {wait} s.",
    "Sua chave de API pode enviar {limit} requisições por minuto. Tente de novo em {wait} s.",
)
HOUR_USED_UP = Text(
    "Your API key may have {minutes} minutes of audio transcribed in each hour (UTC), and what is "
    "left is too little for this recording of {length} minutes. Try again in {wait} s.",
    "Sua chave de API pode transcrever {minutes} minutos de áudio por hora (UTC), e o que resta é "
    "pouco para esta gravação de {length} minutos. Tente de novo em {wait} s.",
)
DAY_USED_UP = Text(
    "Your API key may have {minutes} minutes of audio transcribed on each day (UTC), and what is "
    "left is too little for this recording of {length} minutes. Try again in {wait} s.",
    "Sua chave de API pode transcrever {minutes} minutos de áudio por dia (UTC), e o que resta é "
    "pouco para esta gravação de {length} minutos. Tente de novo em {wait} s.",
)
LONGER_THAN_HOUR = Text(
    "This recording has {length} minutes; your API key may have {minutes} transcribed in a whole "
    "hour. Split it, or ask whoever runs the server for more.",
    "Esta gravação tem {length} minutos; sua chave de API pode transcrever {minutes} numa hora "
    "inteira. Divida-a, ou peça mais a quem opera o servidor.",
)
LONGER_THAN_DAY = Text(
    "This recording has {length} minutes; your API key may have {minutes} transcribed on a whole "
    "day. Split it, or ask whoever runs the server for more.",
    "Esta gravação tem {length} minutos; sua chave de API pode transcrever {minutes} num dia "
    "inteiro. Divida-a, ou peça mais a quem opera o servidor.",
)

# The body and its form.

HOW_TO_SEND = Text(
    'Send the file as a form: curl -H "Authorization: Bearer $KEY" -F file=@audio.mp3 -F '
    "model=whisper-1 .../v1/audio/{route}",
    'Envie o arquivo como formulário: curl -H "Authorization: Bearer $KEY" -F file=@audio.mp3 -F '
    "model=whisper-1 .../v1/audio/{route}",
)
NOT_A_FORM = Text(
    "The body has to be multipart/form-data, with the recording in the part `file`; raw audio "
    "cannot be taken. {how}",
    "O corpo precisa ser multipart/form-data, com a gravação na parte `file`; áudio puro não é "
    "aceito. {how}",
)
NO_BOUNDARY = Text(
    "The Content-Type lacks a good `boundary`. Let the client set this header by itself. {how}",
    "Falta um `boundary` válido no Content-Type. Deixe o próprio cliente definir este cabeçalho. "
    "{how}",
)
BROKEN_FORM = Text(
    "The form cannot be read: it is cut off, has too many parts, or its boundary is not the one "
    "in the Content-Type. Let the client set this header by itself. {how}",
    "O formulário não pode ser lido: está cortado, tem partes demais, ou o boundary não é o do "
    "Content-Type. Deixe o próprio cliente definir este cabeçalho. {how}",
)
NO_FILE = Text(
    "The form has no part named `file`. {how}",
    "O formulário não tem uma parte chamada `file`. {how}",
)
TWO_FILES = Text(
    "The form has several parts named `file`. Send one.",
    "O formulário tem várias partes chamadas `file`. Envie uma só.",
)
UPLOAD_TOO_LARGE = Text(
    "Maximum content size limit ({limit}) exceeded ({size} bytes read). Send a smaller file, for "
    "example as Opus or MP3.",
    "O limite de tamanho ({limit} bytes) foi excedido ({size} bytes lidos). Envie um arquivo "
    "menor, por exemplo em Opus ou MP3.",
)
UPLOAD_TIMEOUT = Text(
    "The upload stopped, or took too long: the server waits {idle:g} s for the next byte and "
    "{whole:g} s for the whole body, and wants {rate:g} bytes a second. Try again, with a smaller "
    "file or on a better line.",
    "O envio parou, ou demorou demais: o servidor espera {idle:g} s pelo próximo byte e {whole:g} "
    "s pelo corpo todo, e quer {rate:g} bytes por segundo. Tente de novo, com um arquivo menor ou "
    "numa conexão melhor.",
)

# Fields.

WRONG_VALUE = Text(
    "`{name}` has a value that is not allowed. Send {allowed}.",
    "O valor de `{name}` não é permitido. Envie {allowed}.",
)
FIELD_TOO_LONG = Text(
    "`{name}` is longer than {max_bytes} bytes. Shorten it.",
    "`{name}` tem mais de {max_bytes} bytes. Encurte-o.",
)
FIELD_NOT_UTF8 = Text(
    "`{name}` is not UTF-8. Send it in that encoding.",
    "`{name}` não está em UTF-8. Envie-o nessa codificação.",
)
FIELD_TWICE = Text(
    "`{name}` is there {count} times. Send it once.",
    "`{name}` aparece {count} vezes. Envie-o uma vez só.",
)
UNKNOWN_LANGUAGE = Text(
    "Unknown language. Use an ISO-639-1 code or an English name. Codes: {codes}.",
    "Idioma desconhecido. Use um código ISO-639-1 ou um nome em inglês. Códigos: {codes}.",
)
MODEL_LACKS_LANGUAGE = Text(
    "This model does not know the language `{language}`. Use another model, or leave `{name}` out.",
    "Este modelo não conhece o idioma `{language}`. Use outro modelo, ou omita `{name}`.",
)
MODEL_PLACES_NO_WORDS = Text(
    "This server's engine places no words in time. Leave `word` out of `{name}`.",
    "O motor deste servidor não situa palavras no tempo. Omita `word` em `{name}`.",
)
MODEL_HAS_NO_LOGPROBS = Text(
    "This server's engine places no words, and so has no log probabilities. Leave `{name}` out.",
    "O motor deste servidor não situa palavras, e por isso não tem probabilidades logarítmicas. "
    "Omita `{name}`.",
)
NO_SUCH_MODEL = Text(
    "No such model. This server has: {known}. Use one of them.",
    "Este modelo não existe. Este servidor tem: {known}. Use um deles.",
)
STREAM_NEEDS_TEXT = Text(
    "`stream` needs a transcription with `response_format` json or text: its events carry text "
    "alone. Leave `stream` out, or use one of these formats.",
    "`stream` exige uma transcrição com `response_format` json ou text: seus eventos levam só "
    "texto. Omita `stream`, ou use um desses formatos.",
)
STREAM_OR_BACKGROUND = Text(
    "A job in the background cannot be streamed. Leave `stream` out, or `background` and `Prefer`.",
    "Uma tarefa em segundo plano não pode ser transmitida. Omita `stream`, ou `background` e "
    "`Prefer`.",
)
WEBHOOK_NEEDS_JOB = Text(
    "`webhook_url` tells the end of a job, and this request asks for none. Send `background=true` "
    "or `Prefer: respond-async`, or leave it out.",
    "`webhook_url` avisa do fim de uma tarefa, e esta requisição não pede nenhuma. Envie "
    "`background=true` ou `Prefer: respond-async`, ou omita-o.",
)
WEBHOOKS_OFF = Text(
    "This server sends no webhooks. Leave `webhook_url` out, or ask whoever runs the server to set "
    "SUSSURRO_WEBHOOK_SECRET.",
    "Este servidor não envia webhooks. Omita `webhook_url`, ou peça a quem cuida do servidor que "
    "defina SUSSURRO_WEBHOOK_SECRET.",
)
WEBHOOK_MALFORMED = Text(
    "`webhook_url` is no URL that can be called. Send one such as `https://example.com/hook`, in "
    "ASCII and without blanks.",
    "`webhook_url` não é uma URL que se possa chamar. Envie uma como `https://example.com/hook`, "
    "em ASCII e sem espaços.",
)
WEBHOOK_USERINFO = Text(
    "`webhook_url` holds a user name. Leave it out of the URL: signatures say who calls.",
    "`webhook_url` contém um nome de usuário. Omita-o da URL: assinaturas dizem quem chama.",
)
WEBHOOK_PLAIN_HTTP = Text(
    "`webhook_url` has to begin with `https://`. Use that, or ask whoever runs the server to add "
    "the host to SUSSURRO_WEBHOOK_ALLOW.",
    "`webhook_url` tem de começar com `https://`. Use isso, ou peça a quem cuida do servidor que "
    "acrescente o host a SUSSURRO_WEBHOOK_ALLOW.",
)
WEBHOOK_INSIDE = Text(
    "`webhook_url` is an address inside a network, where webhooks do not go. Use a public one, or "
    "ask whoever runs the server to add it to SUSSURRO_WEBHOOK_ALLOW.",
    "`webhook_url` é um endereço dentro de uma rede, aonde webhooks não vão. Use um público, ou "
    "peça a quem cuida do servidor que o acrescente a SUSSURRO_WEBHOOK_ALLOW.",
)
TRANSLATION_LANGUAGE = Text(
    "`language` is not for translations: they find the language, and answer in English. Leave it "
    "out, or use /v1/audio/transcriptions.",
    "`language` não serve para traduções: elas detectam o idioma e respondem em inglês. Omita-o, "
    "ou use /v1/audio/transcriptions.",
)
NEEDS_VERBOSE_TRANSCRIPTION = Text(
    "`{name}` needs a transcription with `response_format=verbose_json`. Use that format, or "
    "leave the field out.",
    "`{name}` exige uma transcrição com `response_format=verbose_json`. Use esse formato, ou "
    "omita o campo.",
)
NEEDS_VERBOSE = Text(
    "`{name}` needs `response_format=verbose_json`. Use that format, or leave the field out.",
    "`{name}` exige `response_format=verbose_json`. Use esse formato, ou omita o campo.",
)
FORMATS_NEED_JSON = Text(
    "`x_formats` needs `response_format` json or verbose_json, which can hold them. Use one of "
    "these, or leave the field out.",
    "`x_formats` exige `response_format` json ou verbose_json, que podem contê-los. Use um deles, "
    "ou omita o campo.",
)
VAD_NEEDS_FAST = Text(
    "`chunking_strategy` server_vad needs `mode=fast`: in accurate mode a recording is not cut. "
    "Use that mode, or leave the field out.",
    "`chunking_strategy` server_vad exige `mode=fast`: no modo accurate a gravação não é cortada. "
    "Use esse modo, ou omita o campo.",
)
LOGPROBS_NEED_JSON = Text(
    "`include` with logprobs needs a transcription with `response_format=json`, streamed or not. "
    "Use that format, or leave the field out.",
    "`include` com logprobs exige uma transcrição com `response_format=json`, com ou sem stream. "
    "Use esse formato, ou omita o campo.",
)
ONE_OF_TWO = Text(
    "`{name}` and `{other}` say the same thing. Send one of them.",
    "`{name}` e `{other}` dizem a mesma coisa. Envie um dos dois.",
)
NO_SPEAKERS = Text(
    "`{name}`: this server does not tell speakers apart. Leave the field out.",
    "`{name}`: este servidor não distingue falantes. Omita o campo.",
)
NO_DIARIZED_JSON = Text(
    "`diarized_json`: this server does not tell speakers apart. Use json, text, srt, verbose_json "
    "or vtt.",
    "`diarized_json`: este servidor não distingue falantes. Use json, text, srt, verbose_json ou "
    "vtt.",
)

# What a field may be, as a part of `WRONG_VALUE`.

ONE_OF = Text("one of {values}", "um destes valores: {values}")
ONLY_TEXT = Text("text, as often as needed", "texto, quantas vezes for preciso")
NUMBER_BETWEEN = Text("a number from {least:g} to {most:g}", "um número de {least:g} a {most:g}")
NUMBER_ABOVE = Text(
    "a number above {least:g}, up to {most:g}",
    "um número acima de {least:g}, até {most:g}",
)

CHUNKING = Text(
    "auto, or an object: `type` server_vad, `threshold` 0 to 1, `prefix_padding_ms` and "
    "`silence_duration_ms` 0 to 10000, as chunking_strategy[type]=server_vad or as JSON",
    "auto, ou um objeto: `type` server_vad, `threshold` de 0 a 1, `prefix_padding_ms` e "
    "`silence_duration_ms` de 0 a 10000, como chunking_strategy[type]=server_vad ou em JSON",
)

# The recording.

EMPTY_FILE = Text(
    "The file is empty. Send the recording's bytes.",
    "O arquivo está vazio. Envie os bytes da gravação.",
)
NOT_MEDIA = Text(
    "The file cannot be read as audio: it is no audio or video file, or its format is not "
    "supported, or it is damaged or incomplete. Play it to check, or convert it to MP3, Opus or "
    "WAV.",
    "O arquivo não pode ser lido como áudio: não é um arquivo de áudio ou vídeo, ou o formato não "
    "é aceito, ou está danificado ou incompleto. Reproduza-o para verificar, ou converta-o para "
    "MP3, Opus ou WAV.",
)
PLAYLIST = Text(
    "The file is a playlist, not audio. Send the recording itself.",
    "O arquivo é uma lista de reprodução, não áudio. Envie a própria gravação.",
)
NO_AUDIO_STREAM = Text(
    "The file has no audio track. Send one that has sound.",
    "O arquivo não tem faixa de áudio. Envie um que tenha som.",
)
UNSUPPORTED_CODEC = Text(
    "The audio track's codec is not supported. Convert the file to MP3, Opus or WAV.",
    "O codec da faixa de áudio não é aceito. Converta o arquivo para MP3, Opus ou WAV.",
)
NO_SAMPLES = Text(
    "The file holds no audio: its audio track is empty. Send a complete recording.",
    "O arquivo não contém áudio: a faixa está vazia. Envie uma gravação completa.",
)
BAD_HEADER = Text(
    "The audio track's sample rate or number of channels is not supported. Convert the file to "
    "MP3, Opus or WAV.",
    "A taxa de amostragem ou o número de canais da faixa não é aceito. Converta o arquivo para "
    "MP3, Opus ou WAV.",
)
OUT_OF_MEMORY = Text(
    "The file needs too much memory to decode. Convert it to MP3, Opus or WAV.",
    "O arquivo exige memória demais para ser decodificado. Converta-o para MP3, Opus ou WAV.",
)
TOO_SLOW = Text(
    "The file takes longer than {load_timeout:g} s to decode. Convert it to MP3, Opus or WAV, or "
    "split it.",
    "O arquivo demora mais de {load_timeout:g} s para ser decodificado. Converta-o para MP3, Opus "
    "ou WAV, ou divida-o.",
)
DECODER_STOPPED = Text(
    "The file is damaged in a way that stopped the decoder. Convert it to MP3, Opus or WAV, or "
    "record it again.",
    "O arquivo está danificado de um modo que parou o decodificador. Converta-o para MP3, Opus ou "
    "WAV, ou grave-o de novo.",
)
AUDIO_TOO_LONG = Text(
    "The recording is longer than {max_seconds:g} s, the longest allowed. Split it.",
    "A gravação tem mais de {max_seconds:g} s, o máximo permitido. Divida-a.",
)
LOADER_FAILED = Text(
    "The server could not decode the file. Try again; if it stays so, tell whoever runs the "
    "server the request id.",
    "O servidor não conseguiu decodificar o arquivo. Tente de novo; se continuar, informe o id da "
    "requisição a quem opera o servidor.",
)

# The server's state.

TOO_MANY_OF_KEY = Text(
    "Your API key has as many requests under way as it may. Try again in {seconds} s.",
    "Sua chave de API já tem tantas requisições em andamento quanto pode. Tente de novo em "
    "{seconds} s.",
)
OVERLOADED = Text(
    "The server is at its limit. Try again in {seconds} s.",
    "O servidor está no limite. Tente de novo em {seconds} s.",
)
TOO_MANY_JOBS_OF_KEY = Text(
    "Your API key has {count} jobs that are not done, as many as it may. Try again when some are.",
    "Sua chave de API tem {count} tarefas por terminar, tantas quanto pode. Tente de novo quando "
    "algumas terminarem.",
)
TOO_MANY_JOBS = Text(
    "The server has as many jobs as it takes. Try again later.",
    "O servidor tem tantas tarefas quanto aceita. Tente de novo mais tarde.",
)
JOBS_UNAVAILABLE = Text(
    "The place where the server keeps its jobs does not answer. Try again in a moment.",
    "O lugar onde o servidor guarda as tarefas não responde. Tente de novo em instantes.",
)
JOBS_OFF = Text(
    "This server keeps no jobs. Send the request without `background` and without `Prefer`, or ask "
    "whoever runs the server to set SUSSURRO_JOBS_DIR.",
    "Este servidor não guarda tarefas. Envie a requisição sem `background` e sem `Prefer`, ou peça "
    "a quem opera o servidor que defina SUSSURRO_JOBS_DIR.",
)
IDEMPOTENCY_OFF = Text(
    "This server keeps no answers, so it cannot heed `Idempotency-Key`. Send the request without "
    "it, or ask whoever runs the server to set SUSSURRO_JOBS_DIR.",
    "Este servidor não guarda respostas, e por isso não pode atender a `Idempotency-Key`. Envie a "
    "requisição sem ela, ou peça a quem opera o servidor que defina SUSSURRO_JOBS_DIR.",
)
BAD_IDEMPOTENCY_KEY = Text(
    "The header `Idempotency-Key` has to be 1 to {most} visible ASCII characters, such as a UUID. "
    "Send one for each request, and the same one when you repeat it.",
    "O cabeçalho `Idempotency-Key` precisa ter de 1 a {most} caracteres ASCII visíveis, como um "
    "UUID. Envie um para cada requisição, e o mesmo ao repeti-la.",
)
IDEMPOTENCY_KEY_REUSED = Text(
    "This `Idempotency-Key` was used for another request: other audio, other fields or another "
    "URL. Send a new one.",
    "Esta `Idempotency-Key` já foi usada para outra requisição: outro áudio, outros campos ou "
    "outra URL. Envie uma nova.",
)
IDEMPOTENCY_KEY_IN_USE = Text(
    "The same request is being worked on. Send it again in {wait} s for its answer.",
    "A mesma requisição está sendo atendida. Envie-a de novo em {wait} s para ter a resposta.",
)
NO_SUCH_JOB = Text(
    "Your API key has no such job. See those that it has at `/v1/jobs`.",
    "Sua chave de API não tem esta tarefa. Veja as que ela tem em `/v1/jobs`.",
)
JOB_NOT_FINISHED = Text(
    "The job is not done: it is {state}. Try again in {wait} s.",
    "A tarefa não terminou: está {state}. Tente de novo em {wait} s.",
)
NO_TRANSCRIPT = Text(
    "The job is {state}: it has no transcript, and will have none. Send the recording again.",
    "A tarefa está {state}: não tem transcrição, nem terá. Envie a gravação de novo.",
)
JOB_GIVEN_UP = Text(
    "The server died each time it worked on this recording. Ask whoever runs it to look, with the "
    "job's id.",
    "O servidor caiu cada vez que trabalhou nesta gravação. Peça a quem o opera que veja, com o id "
    "da tarefa.",
)
JOB_STATES = {
    "queued": Text("queued", "na fila"),
    "running": Text("running", "em andamento"),
    "failed": Text("failed", "encerrada por falha"),
    "cancelled": Text("cancelled", "cancelada"),
    "expired": Text("expired", "expirada"),
}
ENGINE_QUEUE_FULL = Text(
    "The engine's queue is full. Try again soon.",
    "A fila do motor está cheia. Tente de novo em breve.",
)
NO_DISK = Text(
    "The server has no room to store the upload. Try again later.",
    "O servidor não tem espaço para guardar o envio. Tente de novo mais tarde.",
)
MODEL_LOADING = Text(
    "The model is still loading. Try again soon.",
    "O modelo ainda está carregando. Tente de novo em breve.",
)
NOT_READY = Text(
    "Not ready: {what}. Try again soon.",
    "Ainda não está pronto: {what}. Tente de novo em breve.",
)
MEDIA_LOADER = Text("the media loader", "o decodificador de mídia")
DRAINING = Text(
    "The server is about to stop. Send the request again in a moment.",
    "O servidor está prestes a parar. Envie a requisição de novo em instantes.",
)
DEADLINE_EXCEEDED = Text(
    "The transcription took longer than its limit. Send a shorter recording.",
    "A transcrição demorou mais que o limite. Envie uma gravação mais curta.",
)
SLOWER_THAN = Text(
    "The transcription took longer than {seconds:g} s. Send a shorter recording.",
    "A transcrição demorou mais de {seconds:g} s. Envie uma gravação mais curta.",
)
ENGINE_FAILED = Text(
    "The speech engine failed on this audio. Try again; if it stays so, tell whoever runs the "
    "server the request id.",
    "O motor de fala falhou neste áudio. Tente de novo; se continuar, informe o id da requisição "
    "a quem opera o servidor.",
)
ENGINE_STOPPED = Text(
    "The speech engine has stopped working, and the server starts again. Try again soon.",
    "O motor de fala parou de funcionar, e o servidor está reiniciando. Tente de novo em breve.",
)
SERVER_FAILED = Text(
    "The server failed on this request. Try again; if it stays so, tell whoever runs the server "
    "the request id.",
    "O servidor falhou nesta requisição. Tente de novo; se continuar, informe o id da requisição "
    "a quem opera o servidor.",
)
