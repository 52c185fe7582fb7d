# bash completion for trireme: asks the program itself what there is.
_trireme() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]:-} words=
  if ((COMP_CWORD == 1)); then
    words=$("${COMP_WORDS[0]}" --help 2>/dev/null | sed -n '/^Subcommands:/,$s/^  \([a-z]*\) .*/\1/p')
  elif [[ $current == -* && $command != @(search|weights|export) ]]; then
    words=$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE '^ +-[-a-zA-Z,]+' | tr ', ' '\n\n')
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  ((${#COMPREPLY[@]})) || compopt -o default
}
complete -F _trireme trireme
