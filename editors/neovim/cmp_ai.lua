-- The plugin writes DeepSeek's insertion tokens itself: only for models of codling and DeepSeek-Coder.
return {
  {
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
  },
  {
    'hrsh7th/nvim-cmp',
    dependencies = { 'tzachar/cmp-ai' },
    opts = function(_, opts)
      local cmp = require('cmp')
      opts.mapping = opts.mapping or cmp.mapping.preset.insert()
      -- Asked for by a key, not at every keystroke: the source stands in no list of defaults.
      opts.mapping['<C-x>'] = cmp.mapping(
        cmp.mapping.complete({ config = { sources = cmp.config.sources({ { name = 'cmp_ai' } }) } }),
        { 'i' }
      )
    end,
  },
}
