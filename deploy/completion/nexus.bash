# nexus: completion for bash. In ~/.bashrc: source <(nexus completion bash)
_nexus() {
  local words=() word text program=${COMP_WORDS[0]/#\~/$HOME}
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [ ${#words[@]} -gt 0 ] && { [ "$word" = = ] || [[ ${words[${#words[@]} - 1]} == --*= ]]; }; then
      words[${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
  done
  local current=${words[${#words[@]} - 1]}
  COMPREPLY=()
  while IFS= read -r text; do
    word=${text%%$'\t'*}
    case $word in
      :local) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      :open) compopt -o nospace ;;
      *)
        if [[ $current == --*=* ]]; then word=${word#*=}; fi
        COMPREPLY+=("$(printf %q "$word")")
        ;;
    esac
  done < <("$program" completion candidates -- "${words[@]//\\/}" 2>/dev/null </dev/null)
}
complete -F _nexus nexus ./nexus
