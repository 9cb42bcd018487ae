return {
  'milanglacier/minuet-ai.nvim',
  dependencies = { 'nvim-lua/plenary.nvim' },
  opts = {
    provider = 'openai_fim_compatible',
    n_completions = 1,
    context_window = 4096,
    throttle = 300,
    debounce = 200,
    -- What shows the completions. Without a frontend nothing appears; with blink.cmp or nvim-cmp, add minuet
    -- to their sources instead and leave auto_trigger_ft empty.
    virtualtext = {
      auto_trigger_ft = { '*' },
      keymap = {
        accept = '<A-A>',
        accept_line = '<A-a>',
        next = '<A-]>',
        prev = '<A-[>',
        dismiss = '<A-e>',
      },
    },
    provider_options = {
      openai_fim_compatible = {
        name = 'codling',
        model = 'codling',
        end_point = 'http://127.0.0.1:8000/v1/completions',
        api_key = 'TERM', -- the name of any variable that is set; with a key: of the variable that holds it
        stream = true,
        optional = { max_tokens = 128, temperature = 0, user = 'minuet' },
      },
    },
  },
}
