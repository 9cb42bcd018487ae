return {
  'tzachar/cmp-ai',
  dependencies = { 'nvim-lua/plenary.nvim' },
  config = function()
    require('cmp_ai.config'):setup({
      max_lines = 200,
      provider = 'LlamaCpp',
      provider_options = {
        base_url = 'http://127.0.0.1:8000/completion',
        options = { temperature = 0, n_predict = 128 },
      },
      run_on_every_keystroke = false,
    })
  end,
}
