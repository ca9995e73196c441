#compdef nexus
# nexus: completion for zsh. In ~/.zshrc, after compinit: source <(nexus completion zsh)
_nexus() {
  local text word
  local -a found open given
  given=("${(@Q)words[2,CURRENT]}")
  for text in "${(@f)$("${(Q)words[1]}" completion candidates -- "${given[@]}" 2>/dev/null </dev/null)}"; do
    case $text in
      (:local) _files; return ;;
      (:open) open=(-S '') ;;
      (?*)
        word=${text%%$'\t'*}
        case $text in
          (*$'\t'*) found+=("${word//:/\\:}:${text#*$'\t'}") ;;
          (*) found+=("${word//:/\\:}") ;;
        esac
        ;;
    esac
  done
  _describe nexus found $open
}
compdef _nexus nexus
